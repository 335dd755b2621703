/** Restores a branch in place: to a state of its own history, or of another branch's. */
import { findBranch, findCheckpoint, findForkSource, type BranchRow } from '@coppice/catalog';
import type { BranchChanged, CallContext, RestoreBranchRequest } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { type BranchId, parseBranchId } from '@coppice/vocabulary';
import { branchNotFound, type Caller, checkScope } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import type { FindForkPoint } from '../forks/find-fork-point';
import { type ForkRequest, forkRequest, isInPast, requestedTime } from '../forks/fork-request';
import type { Heads } from '../forks/heads';
import { branchModel, operationModel } from '../models';
import { checkName } from '../naming/limits';
import type { Projects } from '../projects/projects';
import {
  branchProtected,
  inTurns,
  type Restored,
  type RestoreInPlace,
  type RestoreInPlaceServices,
  type RestorePlan,
} from './restore-in-place';
import { wayBack } from './way-back';

export interface RestoreBranchServices extends RestoreInPlaceServices {
  readonly projects: Projects;
  readonly forkPoint: FindForkPoint;
  readonly heads: Heads;
  readonly inPlace: RestoreInPlace;
}

export class RestoreBranch {
  readonly #s: RestoreBranchServices;

  constructor(services: RestoreBranchServices) {
    this.#s = services;
  }

  async restore(caller: Caller, request: RestoreBranchRequest, context: CallContext): Promise<BranchChanged> {
    const { db, inPlace } = this.#s;
    return idempotently(db, caller, context, {
      method: 'restore-branch',
      request,
      run: async (entry) => {
        const at = forkRequest(
          {
            lsn: request.sourceLsn,
            unixMicros: request.sourceTimestampUnixMicros,
            checkpoint: request.sourceCheckpoint,
          },
          { lsn: 'source_lsn', time: 'source_timestamp', checkpoint: 'source_checkpoint' },
        );
        return inTurns(async () => {
          const plan = await this.#plan(caller, request, at);
          return changed(await inPlace.run(caller, plan, { idempotency: (done) => entry?.(changed(done)) }));
        });
      },
      reveal: async (kept) => {
        const { id, timelineId } = kept.branch;
        if (timelineId) await inPlace.end(id as BranchId, timelineId, caller.signal);
        return kept;
      },
    });
  }

  async #plan(caller: Caller, request: RestoreBranchRequest, at: ForkRequest): Promise<RestorePlan> {
    const { db, projects, forkPoint, heads, clock } = this.#s;
    const beganAt = clock.now();
    const project = await projects.find(caller, request.projectId);
    const branch = await this.#branch(caller, project.id, request.branchId);
    if (branch.is_protected) throw branchProtected(branch.id);
    const sourceId = sourceOf(branch, request.sourceBranchId);
    const isSelf = sourceId === branch.id;
    checkMayRead(caller, sourceId, request);
    if (isSelf && !isInPast(at))
      throw new CoppiceError('Invalid', 'nothing-to-restore', 'a branch cannot be restored to its own head', {
        remedy: 'Name a source_lsn, source_timestamp or checkpoint, or another source branch.',
      });
    const source = await findForkSource(db, project.id, sourceId, caller.agentFilter);
    if (!source?.branch) throw branchNotFound(sourceId);
    const own = isSelf ? source : await findForkSource(db, project.id, branch.id, caller.agentFilter);
    if (!own?.branch) throw branchNotFound(branch.id);
    const [point, before] = await Promise.all([
      forkPoint.find(source, source.branch, at, caller.signal).catch((error: unknown) => {
        throw isSelf ? wayBack(error, branch) : error;
      }),
      this.#before(heads, project, own.branch, request.preserveUnderName, caller),
    ]);
    const checkpoint =
      at.checkpoint === undefined
        ? undefined
        : await findCheckpoint(
            db,
            { projectId: project.id, branchId: sourceId },
            at.checkpoint,
            new Date(clock.now()),
          );
    return {
      // What the plan was made with is what must still hold when it is carried out.
      branch: { ...branch, timeline_id: own.branch.timelineId },
      point,
      restoredFrom: sourceId,
      newParent: isSelf ? undefined : { id: sourceId, timestamp: requestedTime(at) },
      isReset: sourceId === branch.parent_id,
      before,
      logins: checkpoint
        ? { roles: checkpoint.roles, databases: checkpoint.databases }
        : isSelf
          ? undefined
          : { branchId: sourceId },
      detail: checkpoint ? { sourceCheckpoint: checkpoint.id } : {},
      beganAt,
    };
  }

  async #before(
    heads: Heads,
    project: { readonly id: BranchRow['project_id']; readonly history_retention_seconds: number },
    branch: Parameters<Heads['of']>[1],
    preserveAs: string,
    caller: Caller,
  ): Promise<RestorePlan['before']> {
    if (preserveAs !== '') return { preserveAs: checkName('branch', preserveAs) };
    const oldHead = await heads.of(project.id, branch, caller.signal);
    return { oldHead, retentionSeconds: project.history_retention_seconds };
  }

  async #branch(caller: Caller, projectId: BranchRow['project_id'], text: string): Promise<BranchRow> {
    checkScope(caller, projectId, text);
    const id = parseBranchId(text);
    const row = id && (await findBranch(this.#s.db, projectId, id));
    if (!row) throw branchNotFound(text);
    return row;
  }
}

function changed({ branch, operations }: Restored): BranchChanged {
  return { branch: branchModel(branch), operations: operations.map(operationModel) };
}

/** The branch that is meant by the name of a source. */
function sourceOf(branch: BranchRow, text: string): BranchId {
  if (text === '' || text === '^self') return branch.id;
  if (text !== '^parent') {
    const id = parseBranchId(text);
    if (!id) throw branchNotFound(text);
    return id;
  }
  if (branch.parent_id !== null) return branch.parent_id;
  throw new CoppiceError('Invalid', 'no-parent', `branch ${branch.id} has no parent`, {
    remedy: 'Name a source branch, or a position of its own history.',
  });
}

/** A key of one branch neither reads others nor makes new ones. */
function checkMayRead(caller: Caller, sourceId: BranchId, request: RestoreBranchRequest): void {
  if (caller.branchId === undefined) return;
  if (sourceId === caller.branchId && request.preserveUnderName === '') return;
  throw new CoppiceError('Forbidden', 'key-scope', 'this API key opens its own branch only', {
    remedy: 'Restore the branch to its own history, or use a key of the project.',
  });
}
