/** What the metadata holds that other services hold too, by pages in order of ids: for comparing the two. */
import { sql } from 'kysely';
import type { Counts } from '@coppice/quotas';
import type { ComputeId, EndpointId, Lsn, NodeId, TimelineId } from '@coppice/vocabulary';
import { listCountedAgents, measureUse } from './agents';
import type { Db } from './database';
import type { ComputeRowState } from './schema';

export interface InventoryPage {
  /** Empty for the first. */
  readonly after: string;
  readonly limit: number;
}

export interface TimelineInventory {
  readonly id: TimelineId;
  readonly projectId: string;
  readonly ancestorLsn: Lsn | undefined;
  /** End of committed WAL, while that is known exactly. */
  readonly headLsn: Lsn | undefined;
  readonly isTemplate: boolean;
  /** Nothing needs it, and services are being told to remove it. */
  readonly isGoing: boolean;
}

export async function listTimelines(db: Db, { after, limit }: InventoryPage): Promise<TimelineInventory[]> {
  const { rows } = await sql<{
    id: TimelineId;
    project_id: string | null;
    ancestor_lsn: Lsn | null;
    head_lsn: Lsn | null;
    is_template: boolean;
    is_going: boolean;
  }>`
    select t.id, t.project_id, t.ancestor_lsn, t.head_lsn, coalesce(t.retained_from = 'FFFFFFFF/FFFFFFFF'::pg_lsn, false) as is_going,
      exists (select from templates m where m.timeline_id = t.id and m.ready_at is not null) as is_template
    from timelines t where t.id > ${after} order by t.id limit ${limit}::integer`.execute(db);
  return rows.map((r) => ({
    id: r.id,
    projectId: r.project_id ?? '',
    ancestorLsn: r.ancestor_lsn ?? undefined,
    headLsn: r.head_lsn ?? undefined,
    isTemplate: r.is_template,
    isGoing: r.is_going,
  }));
}

export interface ComputeInventory {
  readonly id: ComputeId;
  readonly endpointId: EndpointId;
  readonly projectId: string;
  readonly branchId: string;
  readonly timelineId: TimelineId;
  readonly nodeId: NodeId;
  readonly state: ComputeRowState;
}

/** Computes that start, run or stop. */
export async function pageLiveComputes(db: Db, { after, limit }: InventoryPage): Promise<ComputeInventory[]> {
  const rows = await db
    .selectFrom('computes')
    .select(['id', 'endpoint_id', 'project_id', 'branch_id', 'timeline_id', 'node_id', 'state'])
    .where('state', 'in', ['starting', 'running', 'stopping'])
    .where(sql<boolean>`id > ${after}`)
    .orderBy('id')
    .limit(limit)
    .execute();
  return rows.map((r) => ({
    id: r.id,
    endpointId: r.endpoint_id,
    projectId: r.project_id,
    branchId: r.branch_id,
    timelineId: r.timeline_id,
    nodeId: r.node_id,
    state: r.state,
  }));
}

export interface CountedAgent {
  readonly id: string;
  /** Counters of another epoch do not count. */
  readonly epoch: number;
  readonly has: Counts;
  /** Of this epoch, what ended and waits to be given back. */
  readonly toGiveBack: Counts;
}

/** Agents with limits on what is counted, and what they have. */
export async function pageCountedAgents(db: Db, { after, limit }: InventoryPage): Promise<CountedAgent[]> {
  const ids = await listCountedAgents(db, after, limit);
  const use = await measureUse(db, ids, new Date(0));
  const { rows } = await sql<{ id: string; epoch: number } & Counts>`
    select a.id, a.quota_epoch as epoch, coalesce(sum(r.projects), 0)::bigint as projects,
      coalesce(sum(r.branches), 0)::bigint as branches, coalesce(sum(r.computes), 0)::bigint as computes
    from agents a left join quota_releases r on r.agent_id = a.id and r.epoch = a.quota_epoch
    where a.id = any(${ids}::text[]) group by a.id order by a.id`.execute(db);
  return rows.flatMap(({ id, epoch, projects, branches, computes }) => {
    const has = use.get(id);
    if (!has) return [];
    return [
      {
        id,
        epoch,
        has: { projects: has.projects, branches: has.branches, computes: has.computes },
        toGiveBack: { projects, branches, computes },
      },
    ];
  });
}
