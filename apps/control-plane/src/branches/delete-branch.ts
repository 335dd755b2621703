import { type CatalogTables, lockProjectTree, recordOperations } from '@coppice/catalog';
import type { BranchModel, DeleteBranchRequest, OperationModel } from '@coppice/contracts';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import { parseBranchId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { branchNotFound, type Caller, checkScope } from '../access/authorize';
import type { SuspendCompute } from '../computes/suspend-compute';
import { branchModel, operationModel } from '../models';
import type { Identifiers } from '../naming/identifiers';
import { finishedOperation } from '../operations/finished-operation';
import type { Projects } from '../projects/projects';
import { childrenOf, MAX_SUBTREE } from './deletion-plan';
import { endComputesOf } from './end-computes';
import { removeSubtree } from './remove-subtree';

export interface DeleteBranchServices {
  readonly db: Kysely<CatalogTables>;
  readonly projects: Projects;
  readonly suspend: SuspendCompute;
  readonly identifiers: Identifiers;
  readonly clock: Clock;
  /** How long what is deleted can be recovered, milliseconds. */
  readonly recoveryWindowMs: number;
}

/** Deletes branches on request. */
export class DeleteBranch {
  readonly #s: DeleteBranchServices;

  constructor(services: DeleteBranchServices) {
    this.#s = services;
  }

  async delete(
    caller: Caller,
    request: DeleteBranchRequest,
  ): Promise<{ branch: BranchModel; operations: OperationModel[] }> {
    const { db, projects, clock, identifiers, recoveryWindowMs } = this.#s;
    const { id: projectId } = await projects.find(caller, request.projectId);
    checkScope(caller, projectId, request.branchId);
    const id = parseBranchId(request.branchId);
    if (!id) throw branchNotFound(request.branchId);
    const children = childrenOf(request.children);
    if (caller.branchId !== undefined && children !== 'refuse')
      throw new CoppiceError('Forbidden', 'key-scope', 'this API key opens its own branch only', {
        remedy: 'Use a key of the project to delete a branch that has children.',
      });
    const now = new Date(clock.now());
    const deletion = {
      id: identifiers.deletion(),
      method: 'user' as const,
      recoverableUntil: new Date(now.getTime() + (request.hard ? 0 : recoveryWindowMs)),
      now,
    };
    const operation = finishedOperation({
      id: identifiers.operation(),
      action: 'delete_timeline',
      projectId,
      branchId: id,
      beganAt: now.getTime(),
      endedAt: now.getTime(),
    });
    const removed = await db.transaction().execute(async (tx) => {
      await lockProjectTree(tx, projectId);
      const done = await removeSubtree(tx, {
        projectId,
        id,
        children,
        defaultBranch: request.defaultBranch,
        limit: MAX_SUBTREE,
        deletion,
        actor: caller.audit,
        action: 'delete-branch',
      });
      await recordOperations(tx, [operation]);
      return done;
    });
    await endComputesOf(this.#s, removed.ids);
    return { branch: branchModel(removed.root), operations: [operationModel(operation)] };
  }
}
