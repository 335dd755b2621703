import type { Client, controlInternalContract } from '@coppice/contracts';
import { BackgroundLoop, type Clock, type Log } from '@coppice/service-kit';
import type { ComputeRegistry } from '../computes/compute-registry';

export interface HeartbeatOptions {
  readonly node: string;
  readonly address: string;
  /** Random per process start: another one tells the control-plane that this agent's computes are gone. */
  readonly incarnation: string;
  readonly everyMs: number;
  readonly control: Client<(typeof controlInternalContract)['methods']>;
  readonly computes: ComputeRegistry;
  readonly clock: Clock;
  readonly log: Log;
}

/** Reports this agent and its computes to the control-plane, again and again; the first report registers it. */
export class Heartbeat {
  readonly #loop: BackgroundLoop;
  readonly #report: (signal?: AbortSignal) => Promise<void>;

  constructor({ node, address, incarnation, everyMs, control, computes, clock, log }: HeartbeatOptions) {
    this.#report = async (signal) => {
      const report = computes.report();
      await control.agentHeartbeat({ nodeId: node, address, incarnation, ...report, clockUnixMs: Math.round(clock.now()) }, signal ? { signal } : {});
      computes.heard(report.computes);
    };
    this.#loop = new BackgroundLoop({ name: 'heartbeat', everyMs, clock, log, run: this.#report });
    computes.onUnaskedEnd(() => this.#loop.nudge());
  }

  start(): void {
    this.#loop.start();
  }

  /** Reports a last time: how the computes ended. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#report();
  }
}
