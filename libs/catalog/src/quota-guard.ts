/**
 * The database's side of counting what agents have; the protocol and its reasons are in libs/leases/src/quota-store.ts. Whatever
 * makes something countable holds the agent's row in share mode and looks whether its reservation still counts. Whatever ends
 * something countable leaves a row in `quota_releases`, by trigger, so that no path can forget it; it is given back from there.
 */
import { sql } from 'kysely';
import type { AgentLimits, Amounts } from '@coppice/quotas';
import type { Db } from './database';

/** What a reservation was made under. */
export interface QuotaGuard {
  readonly agentId: string;
  /** Of the counters; absent when none of these limits is set, so that nothing was reserved. */
  readonly epoch: number | undefined;
  readonly limits: Pick<AgentLimits, 'projects' | 'branches' | 'computes'>;
}

/** The same text for reservations that stand or fall together. */
export function guardKey({ agentId, epoch, limits }: QuotaGuard): string {
  return JSON.stringify([agentId, epoch, limits.projects, limits.branches, limits.computes]);
}

/** The reservation does not count any more, or was made under other limits: nothing was committed, begin anew. */
export class StaleQuota extends Error {
  readonly why: 'epoch' | 'limits';

  constructor(why: 'epoch' | 'limits') {
    super(`quota reservation is stale: ${why}`);
    this.name = 'StaleQuota';
    this.why = why;
  }
}

/** The agent's row, held in share mode, with what stands there: one row `(epoch_fits, limits_fit)`, none when it is gone. */
export function guardedAgent(g: QuotaGuard) {
  const { projects, branches, computes } = g.limits;
  return sql`
      select (${g.epoch ?? null}::bigint is null or quota_epoch = ${g.epoch ?? null}::bigint) as epoch_fits,
        (max_projects is not distinct from ${projects ?? null}::bigint and max_branches is not distinct from ${branches ?? null}::bigint
          and max_computes is not distinct from ${computes ?? null}::bigint) as limits_fit
      from (select * from agents where id = ${g.agentId} and deleted_at is null for share) held`;
}

export interface GuardVerdict {
  readonly epoch_fits: boolean | null;
  readonly limits_fit: boolean | null;
}

/** Throws `StaleQuota` unless the reservation counts. */
export function checkVerdict(verdict: GuardVerdict | undefined): void {
  if (verdict?.limits_fit !== true) throw new StaleQuota('limits');
  if (verdict.epoch_fits !== true) throw new StaleQuota('epoch');
}

/** Throws `StaleQuota` unless the reservation counts; holds it so until the transaction ends. */
export async function guardQuota(tx: Db, guard: QuotaGuard): Promise<void> {
  const { rows } = await guardedAgent(guard).execute(tx);
  checkVerdict(rows[0] as GuardVerdict | undefined);
}

/** The limits of the agent that a project belongs to. */
export interface ProjectOwner {
  readonly agentId: string;
  readonly limits: QuotaGuard['limits'];
}

export async function findOwner(
  db: Db,
  of: { readonly projectId: string } | { readonly agentId: string },
): Promise<ProjectOwner | undefined> {
  const { rows } = await sql<{
    id: string;
    max_projects: number | null;
    max_branches: number | null;
    max_computes: number | null;
  }>`
    select id, max_projects, max_branches, max_computes from agents
    where id = ${'agentId' in of ? of.agentId : sql`(select agent_id from projects where id = ${of.projectId})`} and deleted_at is null`.execute(
    db,
  );
  const r = rows[0];
  return (
    r && {
      agentId: r.id,
      limits: {
        projects: r.max_projects ?? undefined,
        branches: r.max_branches ?? undefined,
        computes: r.max_computes ?? undefined,
      },
    }
  );
}

export interface QuotaRelease {
  readonly agentId: string;
  readonly epoch: number;
  readonly amounts: Amounts;
}

/** Takes what ended out of the table, at most `limit` rows, of one agent or of all; each is given to one taker only. */
export async function takeQuotaReleases(
  db: Db,
  { agentId, limit }: { readonly agentId?: string; readonly limit: number },
): Promise<QuotaRelease[]> {
  const { rows } = await sql<{
    agent_id: string;
    epoch: number;
    projects: number;
    branches: number;
    computes: number;
  }>`
    with taken as (
      delete from quota_releases where id in (
        select id from quota_releases where ${agentId ?? null}::text is null or agent_id = ${agentId ?? null} order by id limit ${limit} for update skip locked
      ) returning agent_id, epoch, projects, branches, computes
    )
    select agent_id, epoch, sum(projects)::integer as projects, sum(branches)::integer as branches, sum(computes)::integer as computes
    from taken group by agent_id, epoch`.execute(db);
  return rows.map(({ agent_id, epoch, ...amounts }) => ({ agentId: agent_id, epoch, amounts }));
}
