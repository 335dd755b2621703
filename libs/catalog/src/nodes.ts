import { sql, type Selectable } from 'kysely';
import { type ComputeId, formatLsn, type Lsn, type NodeId } from '@coppice/vocabulary';
import type { Db } from './database';
import type { ComputeRow } from './computes';
import type { AwakeReason, NodesTable } from './schema';

export type NodeRow = Selectable<NodesTable>;
/** A compute agent as placement sees it: with its live computes, and what they take. */
export type AgentNode = NodeRow & { readonly computes: number; readonly used_bytes: number };

/** What an agent can do, as it says itself. */
export interface NodeCapacity {
  readonly startsAtOnce: number;
  readonly maxComputes: number;
  /** For all its computes together; `undefined`: it does not count. */
  readonly memoryBytes?: number | undefined;
}

/** Registers or refreshes a compute agent; tells whether its process is a new one. */
export async function recordAgentHeartbeat(
  db: Db,
  node: {
    readonly id: NodeId;
    readonly address: string;
    readonly incarnation: string;
    readonly capacity?: NodeCapacity | undefined;
    readonly now: Date;
  },
): Promise<{ readonly isNew: boolean }> {
  const { startsAtOnce, maxComputes, memoryBytes } = node.capacity ?? {};
  const { rows } = await sql<{ before: string | null }>`
    with before as (select incarnation from nodes where id = ${node.id})
    insert into nodes (id, kind, address, incarnation, heartbeat_at, registered_at, starts_at_once, max_computes, memory_bytes)
    values (${node.id}, 'agent', ${node.address}, ${node.incarnation}, ${node.now}::timestamptz, ${node.now}::timestamptz,
      ${startsAtOnce ?? null}::integer, ${maxComputes ?? null}::integer, ${memoryBytes ?? null}::bigint)
    on conflict (id) do update set address = excluded.address, incarnation = excluded.incarnation, heartbeat_at = excluded.heartbeat_at,
      starts_at_once = excluded.starts_at_once, max_computes = excluded.max_computes, memory_bytes = excluded.memory_bytes,
      registered_at = case when nodes.incarnation = excluded.incarnation then nodes.registered_at else excluded.registered_at end
    returning (select incarnation from before) as before`.execute(db);
  return { isNew: rows[0]?.before !== node.incarnation };
}

/** Agents that reported after `since`, with their live computes counted and added up. */
export async function listAgents(db: Db, since: Date): Promise<AgentNode[]> {
  const { rows } = await sql<AgentNode>`
    select n.*, live.computes, live.used_bytes from nodes n cross join lateral (
      select count(*) as computes, coalesce(sum(c.memory_bytes), 0)::bigint as used_bytes from computes c
      where c.node_id = n.id and c.state in ('starting', 'running', 'stopping')) live
    where n.kind = 'agent' and n.heartbeat_at > ${since}::timestamptz order by n.id`.execute(db);
  return rows;
}

export async function findNode(db: Db, id: NodeId): Promise<NodeRow | undefined> {
  return db.selectFrom('nodes').selectAll().where('id', '=', id).executeTakeFirst();
}

/** A live compute with the sizes that its endpoint may have now; `null` when that is gone. */
export type LiveCompute = ComputeRow & {
  readonly min_compute_units: number | null;
  readonly max_compute_units: number | null;
};

export async function listLiveComputesOf(db: Db, nodeId: NodeId): Promise<LiveCompute[]> {
  return db
    .selectFrom('computes as c')
    .leftJoin('endpoints as e', 'e.id', 'c.endpoint_id')
    .selectAll('c')
    .select(['e.min_compute_units', 'e.max_compute_units'])
    .where('c.node_id', '=', nodeId)
    .where('c.state', 'in', ['starting', 'running', 'stopping'])
    .execute();
}

/** Live computes on agents that have not reported since `since`. */
export async function findComputesOfDeadAgents(db: Db, since: Date, limit: number): Promise<ComputeRow[]> {
  return db
    .selectFrom('computes as c')
    .innerJoin('nodes as n', 'n.id', 'c.node_id')
    .selectAll('c')
    .where('c.state', 'in', ['starting', 'running', 'stopping'])
    .where('n.kind', '=', 'agent')
    .where(sql<boolean>`n.heartbeat_at <= ${since}`)
    .limit(limit)
    .execute();
}

export interface ActivityReport {
  readonly computeId: ComputeId;
  readonly lastActiveAt: Date;
  readonly commitLsn: Lsn;
  /** Absent when it is not scaled. */
  readonly size?: { readonly units: number; readonly unitSeconds: number } | undefined;
  /** Something goes on until then at least that is no use of it, and is let finish. */
  readonly heldUntil?: Date | undefined;
  /** As measured; absent while it was not. */
  readonly memoryBytes?: number | undefined;
  /** What keeps it awake now; empty when nothing does. */
  readonly awakeReasons?: readonly AwakeReason[];
}

/**
 * Takes over what an agent reports of its running computes at `now`, in one statement: positions, memory, the time they fall idle,
 * and sizes. What a size comes to is taken over when it changes: while it stays, it goes on from there. Of what kept a compute
 * awake the last that did stays.
 */
export async function recordActivity(
  db: Db,
  nodeId: NodeId,
  reports: readonly ActivityReport[],
  now: Date,
): Promise<void> {
  if (reports.length === 0) return;
  const rows = JSON.stringify(
    reports.map((r) => ({
      id: r.computeId,
      at: r.lastActiveAt.toISOString(),
      lsn: formatLsn(r.commitLsn),
      units: r.size?.units,
      unit_seconds: r.size?.unitSeconds,
      held: r.heldUntil?.toISOString(),
      memory: r.memoryBytes,
      reasons: r.awakeReasons?.length ? r.awakeReasons : undefined,
    })),
  );
  await sql`
    update computes c set commit_lsn = greatest(c.commit_lsn, r.lsn), last_active_at = greatest(c.last_active_at, r.at),
      memory_bytes = coalesce(r.memory, c.memory_bytes),
      awake_reasons = coalesce(r.reasons, c.awake_reasons), awake_at = case when r.reasons is null then c.awake_at else ${now}::timestamptz end,
      idle_due_at = case when c.suspend_timeout_seconds < 0 then null
        else greatest(greatest(c.last_active_at, r.at) + c.suspend_timeout_seconds * interval '1 second', r.held) end,
      compute_units = coalesce(r.units, c.compute_units), unit_seconds = coalesce(r.unit_seconds, c.unit_seconds),
      unit_seconds_at = case when r.units is null then c.unit_seconds_at else ${now}::timestamptz end
    from jsonb_to_recordset(${rows}::jsonb) as r(id text, at timestamptz, lsn pg_lsn, units double precision, unit_seconds double precision,
      held timestamptz, memory bigint, reasons jsonb)
    where c.id = r.id and c.node_id = ${nodeId} and c.state = 'running'
      and (c.last_active_at is distinct from r.at or c.commit_lsn is distinct from r.lsn or c.compute_units <> r.units
        or r.held is not null or r.reasons is not null or c.memory_bytes is distinct from coalesce(r.memory, c.memory_bytes))`.execute(
    db,
  );
}

/** Registers a pageserver and answers with a generation larger than any given before. */
export async function attachPageserver(
  db: Db,
  node: { readonly id: NodeId; readonly address: string; readonly now: Date },
): Promise<number> {
  const { rows } = await sql<{ generation: number }>`
    with node as (
      insert into nodes (id, kind, address, incarnation, heartbeat_at, registered_at)
      values (${node.id}, 'pageserver', ${node.address}, '', ${node.now}::timestamptz, ${node.now}::timestamptz)
      on conflict (id) do update set address = excluded.address, heartbeat_at = excluded.heartbeat_at
    )
    insert into generations (node_id, address, attached_at) values (${node.id}, ${node.address}, ${node.now}::timestamptz) returning generation`.execute(
    db,
  );
  return rows[0]!.generation;
}
