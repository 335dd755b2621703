/** What agents report, and what their silence means. */
import {
  type ComputeRow,
  type Db,
  findComputesOfDeadAgents,
  findUnfinishedComputes,
  listLiveComputesOf,
  markGone,
  markStopped,
  recordActivity,
  recordAgentHeartbeat,
} from '@coppice/catalog';
import type { AgentHeartbeat } from '@coppice/contracts';
import {
  asCoppiceError,
  BackgroundLoop,
  type Clock,
  CoppiceError,
  type Log,
  part,
  type Part,
  Semaphore,
} from '@coppice/service-kit';
import { type ComputeId, formatLsn, parseNodeId } from '@coppice/vocabulary';
import type { Peers } from '../peers';
import { reconcile } from './reconcile';
import type { ResizeCompute } from './resize-compute';
import type { SuspendCompute } from './suspend-compute';
import type { WakeCompute } from './wake-compute';

const WATCH_EVERY_MS = 1_000;
/** A start or stop seen under way for so long may be left over from a process that died, milliseconds. Joining it harms nobody. */
const LEFT_OVER_MS = 4_000;
const BATCH = 1_000;
/** Stops completed at once, so that one agent that does not answer holds up no others. */
const COMPLETED_AT_ONCE = 16;

export interface ReportServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly suspend: SuspendCompute;
  readonly wake: WakeCompute;
  readonly resize: ResizeCompute;
  readonly clock: Clock;
  readonly log: Log;
  readonly agentDeadAfterMs: number;
}

export class AgentReports {
  readonly #s: ReportServices;
  readonly #loops: readonly BackgroundLoop[];
  readonly #permits = new Semaphore(COMPLETED_AT_ONCE);
  /** Starts and stops under way since when, monotonic milliseconds. */
  #unfinished = new Map<ComputeId, number>();
  readonly #completing = new Map<ComputeId, Promise<void>>();

  constructor(services: ReportServices) {
    this.#s = services;
    const loop = (name: string, run: () => Promise<void>): BackgroundLoop =>
      new BackgroundLoop({ name, everyMs: WATCH_EVERY_MS, log: services.log, run });
    // Apart, because completing a stop may take as long as an agent does not answer.
    this.#loops = [
      loop('watch-agents', () => this.#failSilent()),
      loop('complete-left-over', () => this.#completeLeftOver()),
    ];
  }

  asPart(): Part {
    return part(
      'watch-agents',
      () => this.#loops.forEach((loop) => loop.start()),
      async () => void (await Promise.all(this.#loops.map((loop) => loop.stop()))),
    );
  }

  /** Registers the agent and takes over the state of its computes. */
  async heartbeat(report: AgentHeartbeat): Promise<void> {
    const { db, clock, log, peers, resize } = this.#s;
    const id = parseNodeId(report.nodeId);
    if (!id || report.address === '' || report.incarnation === '') {
      throw new CoppiceError(
        'Malformed',
        'bad-heartbeat',
        `heartbeat of node "${report.nodeId.slice(0, 60)}" lacks a node id, an address or an incarnation`,
      );
    }
    const now = clock.now();
    const { isNew } = await recordAgentHeartbeat(db, {
      id,
      address: report.address,
      incarnation: report.incarnation,
      capacity: report.capacity,
      now: new Date(now),
    });
    if (isNew)
      log.info(
        { node: id, address: report.address, incarnation: report.incarnation },
        'compute agent registers',
      );
    const live = await listLiveComputesOf(db, id);
    const decided = reconcile(live, report.incarnation, report.computes, now, report.clockUnixMs);
    const { activity, stopped, failed, resized, orphans } = decided;
    await recordActivity(db, id, activity, new Date(now));
    await Promise.all(resized.map((compute) => resize.tell(report.address, compute)));
    for (const { id: computeId, finalLsn } of stopped) {
      if (await markStopped(db, computeId, finalLsn, new Date(now)))
        log.info({ computeId, finalLsn: formatLsn(finalLsn) }, 'compute stopped');
    }
    for (const { id: computeId, why } of failed) await this.#fail(computeId, why);
    for (const computeId of orphans) {
      log.warn({ computeId, node: id }, 'compute runs without being wanted, is stopped');
      await peers
        .agent(report.address)
        .stopCompute({ computeId, immediate: true }, { deadlineMs: 5_000 })
        .catch((error: unknown) => {
          log.warn({ err: error, computeId }, 'unwanted compute is not stopped yet');
        });
    }
  }

  /** One round: computes of silent agents. */
  async #failSilent(): Promise<void> {
    const { db, clock, agentDeadAfterMs } = this.#s;
    const silentSince = new Date(clock.now() - agentDeadAfterMs);
    for (const row of await findComputesOfDeadAgents(db, silentSince, BATCH))
      await this.#fail(row.id, `agent ${row.node_id} has not reported for ${agentDeadAfterMs} ms`);
  }

  /** One round: starts and stops whose process died. */
  async #completeLeftOver(): Promise<void> {
    const { db, clock } = this.#s;
    const now = clock.monotonic();
    const rows = await findUnfinishedComputes(db, BATCH);
    this.#unfinished = new Map(rows.map((row) => [row.id, this.#unfinished.get(row.id) ?? now]));
    for (const row of rows) {
      if (this.#completing.has(row.id) || this.#unfinished.get(row.id)! > now - LEFT_OVER_MS) continue;
      const completed = this.#permits.run(() => this.#complete(row));
      this.#completing.set(
        row.id,
        completed.finally(() => this.#completing.delete(row.id)),
      );
    }
    await Promise.race([Promise.all(this.#completing.values()), clock.sleep(WATCH_EVERY_MS)]);
  }

  async #complete(row: ComputeRow): Promise<void> {
    try {
      if (row.state === 'starting') await this.#s.wake.complete(row);
      else await this.#s.suspend.finish(row);
    } catch (error) {
      const { code } = asCoppiceError(error);
      this.#s.log.warn(
        { computeId: row.id, state: row.state, code, err: error },
        'compute is still not settled',
      );
    }
  }

  async #fail(computeId: Parameters<typeof markGone>[1], why: string): Promise<void> {
    const changed = await markGone(this.#s.db, computeId, {
      state: 'failed',
      why,
      now: new Date(this.#s.clock.now()),
    });
    if (changed) this.#s.log.warn({ computeId, why }, 'compute fails');
  }
}
