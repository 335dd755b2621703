/** Agents: who projects belong to, what each may have, and what it has. */
import { type Kysely, sql, type Selectable } from 'kysely';
import type { AgentLimits, Counts } from '@coppice/quotas';
import type { Db } from './database';
import { likePattern, type PageAfter } from './paging';
import type { AgentsTable, CatalogTables } from './schema';

export type AgentRow = Selectable<AgentsTable>;

/** What an agent has now, counted. */
export interface AgentUse extends Counts {
  readonly storageBytes: number;
  /** Compute-unit seconds of the current UTC month. */
  readonly computeSeconds: number;
}

export function limitsOf(row: AgentRow): AgentLimits {
  return {
    projects: row.max_projects ?? undefined,
    branches: row.max_branches ?? undefined,
    computes: row.max_computes ?? undefined,
    storageBytes: row.max_storage_bytes ?? undefined,
    computeSeconds: row.max_compute_seconds ?? undefined,
    requestsPerSecond: row.max_requests_per_second ?? undefined,
  };
}

function columnsOf(limits: AgentLimits) {
  return {
    max_projects: limits.projects ?? null,
    max_branches: limits.branches ?? null,
    max_computes: limits.computes ?? null,
    max_storage_bytes: limits.storageBytes ?? null,
    max_compute_seconds: limits.computeSeconds ?? null,
    max_requests_per_second: limits.requestsPerSecond ?? null,
  };
}

export async function insertAgent(
  db: Db,
  agent: { readonly id: string; readonly name: string; readonly limits: AgentLimits; readonly now: Date },
): Promise<AgentRow> {
  return db
    .insertInto('agents')
    .values({
      id: agent.id,
      name: agent.name,
      ...columnsOf(agent.limits),
      created_at: agent.now,
      updated_at: agent.now,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** An agent that is not deleted. */
export async function findAgent(db: Db, id: string): Promise<AgentRow | undefined> {
  return db
    .selectFrom('agents')
    .selectAll()
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .executeTakeFirst();
}

/** Newest first. */
export async function pageAgents(
  db: Db,
  page: { readonly search: string; readonly after: PageAfter<number> | undefined; readonly limit: number },
): Promise<AgentRow[]> {
  const { search, after, limit } = page;
  let query = db.selectFrom('agents').selectAll().where('deleted_at', 'is', null);
  if (search !== '')
    query = query.where(sql<boolean>`(name ilike ${likePattern(search)} or id ilike ${likePattern(search)})`);
  if (after)
    query = query.where(sql<boolean>`(created_at, id) < (${new Date(after.key)}::timestamptz, ${after.id})`);
  return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
}

/** Changes name or limits; new limits make counters be taken anew. `undefined` when there is no such agent. */
export async function updateAgent(
  db: Db,
  id: string,
  change: {
    readonly name: string | undefined;
    readonly limits: AgentLimits | undefined;
    readonly now: Date;
  },
): Promise<AgentRow | undefined> {
  return db
    .updateTable('agents')
    .set((e) => ({
      ...(change.name === undefined ? {} : { name: change.name }),
      ...(change.limits === undefined
        ? {}
        : { ...columnsOf(change.limits), quota_epoch: e('quota_epoch', '+', 1) }),
      updated_at: change.now,
    }))
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .returningAll()
    .executeTakeFirst();
}

/** An agent that is not deleted, held until the transaction ends. */
export async function lockAgent(tx: Db, id: string): Promise<AgentRow | undefined> {
  return tx
    .selectFrom('agents')
    .selectAll()
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .forNoKeyUpdate()
    .executeTakeFirst();
}

/** Ends an agent that the transaction holds and that has no projects, and its keys with it; false when it has some. */
export async function deleteAgent(tx: Db, id: string, now: Date): Promise<boolean> {
  const project = await tx
    .selectFrom('projects')
    .select('id')
    .where('agent_id', '=', id)
    .where('deleted_at', 'is', null)
    .limit(1)
    .executeTakeFirst();
  if (project) return false;
  await tx
    .updateTable('agents')
    .set((e) => ({ deleted_at: now, updated_at: now, quota_epoch: e('quota_epoch', '+', 1) }))
    .where('id', '=', id)
    .execute();
  await tx
    .updateTable('api_keys')
    .set({ revoked_at: now })
    .where('agent_id', '=', id)
    .where('revoked_at', 'is', null)
    .execute();
  return true;
}

interface UseRow {
  id: string;
  projects: number;
  branches: number;
  computes: number;
  storage_bytes: number;
  compute_seconds: number;
}

/** What agents have, by id. Costs time with what they have: for answers to people, not for every request. */
export async function measureUse(
  db: Db,
  ids: readonly string[],
  monthStart: Date,
): Promise<ReadonlyMap<string, AgentUse>> {
  const { rows } = await sql<UseRow>`
    select a.id,
      (select count(*) from projects p where p.agent_id = a.id and p.deleted_at is null) as projects,
      (select count(*) from branches b join projects p on p.id = b.project_id
        where p.agent_id = a.id and p.deleted_at is null and b.deleted_at is null) as branches,
      (select count(*) from computes c where c.agent_id = a.id and c.state in ('starting', 'running', 'stopping')) as computes,
      (select coalesce(sum(s.held_bytes), 0)::bigint from branch_sizes s join branches b on b.id = s.branch_id and b.deleted_at is null
        where s.agent_id = a.id) as storage_bytes,
      (select coalesce(sum(compute_unit_seconds), 0)::double precision from agent_months m where m.agent_id = a.id and m.month = ${monthStart}::timestamptz) as compute_seconds
    from agents a where a.id = any(${[...ids]}::text[])`.execute(db);
  return new Map(
    rows.map((r) => [
      r.id,
      {
        projects: r.projects,
        branches: r.branches,
        computes: r.computes,
        storageBytes: r.storage_bytes,
        computeSeconds: r.compute_seconds,
      },
    ]),
  );
}

/**
 * Begins a new epoch of an agent's counters, above `above` too, and counts what it has: one transaction, in this order. Inserts
 * under an older epoch hold the row in share mode, so each is either counted or refused. `undefined`: there is no such agent.
 */
export async function advanceQuotaEpoch(
  db: Kysely<CatalogTables>,
  id: string,
  above: number,
): Promise<{ readonly counts: Counts; readonly epoch: number } | undefined> {
  return db.transaction().execute(async (tx) => {
    const { rows } = await sql<{ quota_epoch: number }>`
      update agents set quota_epoch = greatest(quota_epoch, ${above}::bigint) + 1 where id = ${id} and deleted_at is null returning quota_epoch`.execute(
      tx,
    );
    const use = rows[0] && (await measureUse(tx, [id], new Date(0))).get(id);
    if (!use) return undefined;
    return {
      counts: { projects: use.projects, branches: use.branches, computes: use.computes },
      epoch: rows[0]!.quota_epoch,
    };
  });
}

/** The epoch of an agent's counters, its row held in share mode until the transaction ends. */
export async function holdQuotaEpoch(tx: Db, agentId: string): Promise<number | undefined> {
  const { rows } = await sql<{ quota_epoch: number }>`
    select quota_epoch from agents where id = ${agentId} for share`.execute(tx);
  return rows[0]?.quota_epoch;
}

/** Agents with limits on what is counted, in order of id, after `afterId`: those whose counters can be wrong. */
export async function listCountedAgents(db: Db, afterId: string, limit: number): Promise<string[]> {
  const rows = await db
    .selectFrom('agents')
    .select('id')
    .where('id', '>', afterId)
    .where('deleted_at', 'is', null)
    .where((e) =>
      e.or([
        e('max_projects', 'is not', null),
        e('max_branches', 'is not', null),
        e('max_computes', 'is not', null),
      ]),
    )
    .orderBy('id')
    .limit(limit)
    .execute();
  return rows.map((r) => r.id);
}
