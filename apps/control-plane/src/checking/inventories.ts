/** What `coppice check` asks of the metadata; the queries are the catalog's, here they meet the counters. */
import {
  type Db,
  findContradictions,
  listAgents,
  listTimelines,
  pageCountedAgents,
  pageLiveComputes,
} from '@coppice/catalog';
import type {
  AgentNodeMessage,
  ContradictionMessage,
  InventoryRequest,
  LiveCompute,
  QuotaCounters,
  TimelineRecord,
} from '@coppice/contracts';
import type { QuotaStore } from '@coppice/leases';
import type { Clock } from '@coppice/service-kit';

export interface InventoryServices {
  readonly db: Db;
  readonly quotaStore: QuotaStore;
  readonly clock: Clock;
  readonly agentDeadAfterMs: number;
}

const MAX_PAGE = 1_000;
/** Agents of one page: what each has is counted, which costs time with what it has. */
const MAX_AGENTS = 200;

export class Inventories {
  readonly #s: InventoryServices;

  constructor(services: InventoryServices) {
    this.#s = services;
  }

  /** What the metadata itself contradicts. */
  async contradictions(limit: number): Promise<ContradictionMessage[]> {
    const { db, clock } = this.#s;
    return findContradictions(db, { now: new Date(clock.now()), limit: bounded(limit, MAX_PAGE) });
  }

  async agentNodes(): Promise<AgentNodeMessage[]> {
    const { db, clock, agentDeadAfterMs } = this.#s;
    const nodes = await listAgents(db, new Date(clock.now() - agentDeadAfterMs));
    return nodes.map(({ id, address }) => ({ nodeId: id, address }));
  }

  async timelines({ after, limit }: InventoryRequest): Promise<TimelineRecord[]> {
    const rows = await listTimelines(this.#s.db, { after, limit: bounded(limit, MAX_PAGE) });
    return rows.map(({ id, ...row }) => ({ timelineId: id, ...row }));
  }

  async liveComputes({ after, limit }: InventoryRequest): Promise<LiveCompute[]> {
    const rows = await pageLiveComputes(this.#s.db, { after, limit: bounded(limit, MAX_PAGE) });
    return rows.map(({ id, ...row }) => ({ computeId: id, ...row }));
  }

  /** Agents with limits, what they have and what is counted; pages are short. */
  async quotaCounters({ after, limit }: InventoryRequest): Promise<QuotaCounters[]> {
    const { db, quotaStore } = this.#s;
    const agents = await pageCountedAgents(db, { after, limit: bounded(limit, MAX_AGENTS) });
    return Promise.all(
      agents.map(async ({ id, epoch, has, toGiveBack }) => {
        const counters = await quotaStore.read(id);
        const counted = counters?.epoch === epoch ? counters.counts : undefined;
        return { agentId: id, has, toGiveBack, ...(counted ? { counted } : {}) };
      }),
    );
  }
}

function bounded(limit: number, most: number): number {
  return Math.min(Math.max(limit, 1), most);
}
