/** Deletes a branch, alone or with what descends from it, within a transaction: by request, or because its time is over. */
import {
  type Actor,
  auditBranches,
  type BranchRow,
  type Db,
  type Deletion,
  findChildren,
  lockBranches,
  lockSubtree,
  markBranchesDeleted,
  markProjectDeleted,
  promoteOldestBranch,
  recordAudit,
} from '@coppice/catalog';
import type { BranchId, ProjectId } from '@coppice/vocabulary';
import { type DeletionRequest, planDeletion } from './deletion-plan';

/** Children that are named in a refusal. */
const NAMED_CHILDREN = 5;

export interface Removed {
  readonly root: BranchRow;
  readonly ids: readonly BranchId[];
  /** No branch was left: the project went with them. */
  readonly projectEnded: boolean;
}

export interface Removal extends DeletionRequest {
  readonly projectId: ProjectId;
  readonly limit: number;
  readonly deletion: Deletion;
  readonly actor: Actor;
  readonly action: string;
}

/**
 * The transaction holds the project's tree. Live computes are left `stopping`, to be ended after it. Throws when the branch may
 * not go. Recorded for each branch.
 */
export async function removeSubtree(tx: Db, r: Removal): Promise<Removed> {
  const { projectId, deletion } = r;
  const subtree =
    r.children === 'delete' ? await lockSubtree(tx, r, r.limit) : await lockOne(tx, projectId, r.id);
  const inTheWay = r.children === 'refuse' ? await findChildren(tx, r.id, NAMED_CHILDREN) : [];
  const { root, ids, formerDefault } = planDeletion(r, { subtree, inTheWay });
  await markBranchesDeleted(tx, ids, deletion);
  const heir = formerDefault && (await promoteOldestBranch(tx, projectId, formerDefault, deletion.now));
  const projectEnded = formerDefault !== undefined && heir === undefined;
  if (projectEnded) {
    await markProjectDeleted(tx, projectId, deletion);
    await recordAudit(tx, { ...r.actor, action: 'delete-project', projectId, now: deletion.now });
  }
  await auditBranches(tx, {
    ...r.actor,
    action: r.action,
    projectId,
    branchIds: ids,
    detail: { deletion: deletion.id, root: root.id, ...(heir === undefined ? {} : { newDefault: heir }) },
    now: deletion.now,
  });
  return { root: deletedRow(root, deletion), ids, projectEnded };
}

async function lockOne(tx: Db, projectId: ProjectId, id: BranchId): Promise<BranchRow[]> {
  return (await lockBranches(tx, [id])).filter((b) => b.project_id === projectId);
}

function deletedRow(row: BranchRow, d: Deletion): BranchRow {
  return {
    ...row,
    deleted_at: d.now.getTime(),
    updated_at: d.now.getTime(),
    deletion_id: d.id,
    deletion_method: d.method,
    recoverable_until: d.recoverableUntil.getTime(),
  };
}
