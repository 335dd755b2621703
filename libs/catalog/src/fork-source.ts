import { sql } from 'kysely';
import type { BranchId, ComputeId, EndpointId, Lsn, ProjectId, TimelineId } from '@coppice/vocabulary';
import type { Db } from './database';
import type { ProjectOwner } from './quota-guard';
import type { ComputeRowState } from './schema';

/** All that forking a branch at its head needs to know, read in one round trip. */
export interface ForkSource {
  readonly projectId: ProjectId;
  /** Who the project belongs to. */
  readonly owner: ProjectOwner;
  readonly projectCreatedAt: number;
  readonly suspendTimeoutSeconds: number;
  readonly historyRetentionSeconds: number;
  /** Absent when the named branch is not there. */
  readonly branch: ForkBranch | undefined;
}

export interface ForkBranch {
  readonly id: BranchId;
  readonly timelineId: TimelineId;
  /** Where the timeline's own WAL begins. */
  readonly startLsn: Lsn;
  /** End of committed WAL while no compute has written since. */
  readonly headLsn: Lsn | undefined;
  readonly setupPending: boolean;
  readonly endpointId: EndpointId | undefined;
  readonly compute:
    | { readonly id: ComputeId; readonly state: ComputeRowState; readonly nodeAddress: string }
    | undefined;
}

/** `undefined` when the project is not there or belongs to another agent; without `branchId` the default branch. */
export async function findForkSource(
  db: Db,
  projectId: ProjectId,
  branchId?: BranchId,
  agentId?: string,
): Promise<ForkSource | undefined> {
  const { rows } = await sql<{
    created_at: number;
    agent_id: string;
    max_projects: number | null;
    max_branches: number | null;
    max_computes: number | null;
    suspend_timeout_seconds: number;
    history_retention_seconds: number;
    id: BranchId | null;
    timeline_id: TimelineId;
    setup_pending: boolean;
    ancestor_lsn: Lsn;
    head_lsn: Lsn | null;
    endpoint_id: EndpointId | null;
    compute_id: ComputeId | null;
    state: ComputeRowState;
    address: string;
  }>`
    select p.created_at, p.agent_id, a.max_projects, a.max_branches, a.max_computes, p.suspend_timeout_seconds, p.history_retention_seconds, b.id, b.timeline_id, b.setup_pending, t.ancestor_lsn, t.head_lsn,
      e.id as endpoint_id, c.id as compute_id, c.state, n.address
    from projects p join agents a on a.id = p.agent_id
      left join branches b on b.id = coalesce(${branchId ?? null}::text, p.default_branch_id) and b.project_id = p.id and b.deleted_at is null
      left join timelines t on t.id = b.timeline_id
      left join endpoints e on e.branch_id = b.id and e.type = 'read_write' and e.deleted_at is null
      left join computes c on c.endpoint_id = e.id and c.timeline_id = b.timeline_id and c.state in ('starting', 'running', 'stopping')
      left join nodes n on n.id = c.node_id
    where p.id = ${projectId} and p.deleted_at is null and (${agentId ?? null}::text is null or p.agent_id = ${agentId ?? null}::text)`.execute(
    db,
  );
  const r = rows[0];
  if (!r) return undefined;
  return {
    projectId,
    owner: {
      agentId: r.agent_id,
      limits: {
        projects: r.max_projects ?? undefined,
        branches: r.max_branches ?? undefined,
        computes: r.max_computes ?? undefined,
      },
    },
    projectCreatedAt: r.created_at,
    suspendTimeoutSeconds: r.suspend_timeout_seconds,
    historyRetentionSeconds: r.history_retention_seconds,
    branch:
      r.id === null
        ? undefined
        : {
            id: r.id,
            timelineId: r.timeline_id,
            startLsn: r.ancestor_lsn,
            headLsn: r.head_lsn ?? undefined,
            setupPending: r.setup_pending,
            endpointId: r.endpoint_id ?? undefined,
            compute:
              r.compute_id === null
                ? undefined
                : { id: r.compute_id, state: r.state, nodeAddress: r.address },
          },
  };
}
