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
import { formatLsn, parseNodeId } from '@coppice/vocabulary';
import type { Peers } from '../peers';
import { reconcile } from './reconcile';
import type { SuspendCompute } from './suspend-compute';

const WATCH_EVERY_MS = 1_000;
/** A start or stop that is older than any deadline of ours is left over from a process that died, milliseconds. */
const LEFT_OVER_MS = 90_000;
const BATCH = 200;
/** Stops completed at once, so that one agent that does not answer holds up no others. */
const COMPLETED_AT_ONCE = 16;

export interface ReportServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly suspend: SuspendCompute;
  readonly clock: Clock;
  readonly log: Log;
  readonly agentDeadAfterMs: number;
}

export class AgentReports {
  readonly #s: ReportServices;
  readonly #loops: readonly BackgroundLoop[];

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
    const { db, clock, log, peers } = this.#s;
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
      now: new Date(now),
    });
    if (isNew)
      log.info(
        { node: id, address: report.address, incarnation: report.incarnation },
        'compute agent registers',
      );
    const live = await listLiveComputesOf(db, id);
    const { activity, stopped, failed, orphans } = reconcile(live, report.incarnation, report.computes, now);
    await recordActivity(db, id, activity);
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
    const permits = new Semaphore(COMPLETED_AT_ONCE);
    const rows = await findUnfinishedComputes(db, new Date(clock.now() - LEFT_OVER_MS), BATCH);
    await Promise.all(rows.map((row) => permits.run(() => this.#complete(row))));
  }

  async #complete(row: ComputeRow): Promise<void> {
    if (row.state === 'starting') return this.#fail(row.id, 'the start was never completed');
    try {
      await this.#s.suspend.finish(row);
    } catch (error) {
      const { code } = asCoppiceError(error);
      this.#s.log.warn({ computeId: row.id, code, err: error }, 'stop is still not complete');
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
