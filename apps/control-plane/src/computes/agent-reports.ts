/** What agents report, and what their silence means. */
import {
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
} from '@coppice/service-kit';
import { formatLsn, parseNodeId } from '@coppice/vocabulary';
import type { Peers } from '../peers';
import { reconcile } from './reconcile';
import type { SuspendCompute } from './suspend-compute';

const WATCH_EVERY_MS = 1_000;
/** A start or stop that is older than any deadline of ours is left over from a process that died, milliseconds. */
const LEFT_OVER_MS = 90_000;
const BATCH = 200;

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
  readonly #watch: BackgroundLoop;

  constructor(services: ReportServices) {
    this.#s = services;
    this.#watch = new BackgroundLoop({
      name: 'watch-agents',
      everyMs: WATCH_EVERY_MS,
      log: services.log,
      run: () => this.watchOnce(),
    });
  }

  asPart(): Part {
    return part(
      'watch-agents',
      () => this.#watch.start(),
      () => this.#watch.stop(),
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

  /** One round: computes of silent agents, and starts and stops whose process died. */
  async watchOnce(): Promise<void> {
    const { db, clock, suspend, agentDeadAfterMs, log } = this.#s;
    const now = clock.now();
    for (const row of await findComputesOfDeadAgents(db, new Date(now - agentDeadAfterMs), BATCH)) {
      await this.#fail(row.id, `agent ${row.node_id} has not reported for ${agentDeadAfterMs} ms`);
    }
    for (const row of await findUnfinishedComputes(db, new Date(now - LEFT_OVER_MS), BATCH)) {
      if (row.state === 'starting') await this.#fail(row.id, 'the start was never completed');
      else
        await suspend
          .finish(row)
          .catch((error: unknown) =>
            log.warn(
              { computeId: row.id, code: asCoppiceError(error).code, err: error },
              'stop is still not complete',
            ),
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
