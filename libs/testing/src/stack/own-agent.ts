/**
 * A compute agent of a test's own, beside the stack's: the control-plane hears nothing of it, so it lets computes be that
 * nobody asked for. Its heartbeats end at the test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { controlInternalContract, defineService, grpcServer, serve } from '@coppice/contracts';
import { createLog, type Part } from '@coppice/service-kit';
import { stackIdentities } from '../identity/stack-identities';
import { SAFEKEEPER_NAMES, type Stack, workspaceRoot } from './stack';

/** Above those of the stack's own agent. */
const FIRST_UID = 310_000;
const START_MS = 30_000;

const NODE = 'agent-own';

const heartbeats = defineService(
  controlInternalContract.file,
  controlInternalContract.name,
  { agentHeartbeat: controlInternalContract.methods.agentHeartbeat },
  { agentHeartbeat: { services: ['compute-agent'], node: ({ nodeId }) => nodeId } },
);

export class OwnAgent {
  readonly address: string;
  readonly #directory: string;
  readonly #control: Part;
  readonly #process: ChildProcess;

  private constructor(directory: string, control: Part, child: ChildProcess) {
    this.#directory = directory;
    this.#control = control;
    this.#process = child;
    this.address = `unix:${join(directory, 'agent')}`;
  }

  static async start(stack: Stack): Promise<OwnAgent> {
    const directory = mkdtempSync(join(tmpdir(), 'cpa-'));
    chmodSync(directory, 0o711);
    mkdirSync(join(directory, 'c'), { mode: 0o711 });
    const identities = stackIdentities(stack);
    const controlAddress = `unix:${join(directory, 'control')}`;
    const control = grpcServer({
      address: controlAddress,
      services: [serve(heartbeats, { agentHeartbeat: async () => ({}) })],
      log: createLog('own-agent-control', 'fatal'),
      security: identities.security('control-plane'),
    });
    await control.start();
    const at = (name: string): string => `unix:${join(stack.file.runDirectory, 'svc', name)}`;
    const log = openSync(join(directory, 'log'), 'a', 0o600);
    const child = spawn(process.execPath, [join(workspaceRoot(), 'dist/compute-agent/main.js')], {
      stdio: ['ignore', log, log, 'ipc'],
      env: {
        ...process.env,
        ...stack.env,
        ...identities.env('compute-agent', { node: NODE }),
        COPPICE_METRICS_PORT: '0',
        COPPICE_AGENT_NODE: NODE,
        COPPICE_AGENT_ADDRESS: `unix:${join(directory, 'agent')}`,
        COPPICE_AGENT_RUN_DIRECTORY: join(directory, 'c'),
        COPPICE_COMPUTE_FIRST_UID: String(FIRST_UID),
        COPPICE_CONTROL_ADDRESS: controlAddress,
        COPPICE_PAGESERVER_ADDRESS: at('pageserver'),
        COPPICE_SAFEKEEPERS: SAFEKEEPER_NAMES.map((name) => `${name}=${at(name)}`).join(','),
      },
    });
    closeSync(log);
    const agent = new OwnAgent(directory, control, child);
    try {
      await ready(child);
    } catch (cause) {
      const said = agent.log();
      await agent.remove();
      throw new Error(`the agent did not start:\n${said.slice(-4000)}`, { cause });
    }
    return agent;
  }

  log(): string {
    return readFileSync(join(this.#directory, 'log'), 'utf8');
  }

  /** Stops it with its computes and removes what it wrote, kept data directories as well. */
  async remove(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#process.once('exit', () => resolve()));
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill('SIGTERM');
      await ended;
    }
    await this.#control.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('not ready in time')), START_MS);
    const settle = (end: () => void) => (): void => {
      clearTimeout(late);
      end();
    };
    child.on('message', (message) => message === 'ready' && settle(resolve)());
    child.once(
      'exit',
      settle(() => reject(new Error('it ended'))),
    );
  });
}
