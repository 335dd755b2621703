/**
 * Brings back the state of a snapshot.
 *
 *   alone             a new branch beside the others, child of the snapshot's branch while that lives
 *   with a target     the same, noted as meant for the target; finalising it later restores the target in place from it
 *   and finalised     the target itself is restored in place
 *
 * A target keeps its id, endpoints and credentials; what it was becomes a branch named `<name> (old)`.
 */
import {
  type BranchRow,
  type CheckpointRow,
  findBranch,
  findForkSource,
  insertBranch,
  listEndpoints,
  markRestored,
  type NewBranch,
  type ProjectRow,
  settleRestore,
} from '@coppice/catalog';
import type {
  BranchCreated,
  CallContext,
  FinalizeRestoreRequest,
  OperationModel,
  RestoreSnapshotRequest,
} from '@coppice/contracts';
import { asCoppiceError, CoppiceError } from '@coppice/service-kit';
import { type BranchId, parseBranchId } from '@coppice/vocabulary';
import { branchNotFound, type Caller, checkScope } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import { branchCreated, newEndpoints, withLogins } from '../branches/assemble-branch';
import { nameTaken, revealLogins } from '../branches/branches';
import { creationOperations } from '../branches/creation-operations';
import type { ProxyAddress } from '../credentials/connection-uri';
import type { Passwords } from '../credentials/passwords';
import type { ForkPoint } from '../forks/lineage';
import type { Heads } from '../forks/heads';
import { branchModel, endpointModel, operationModel } from '../models';
import { checkName } from '../naming/limits';
import type { Projects } from '../projects/projects';
import {
  type Also,
  branchProtected,
  inTurns,
  type Restored,
  type RestoreInPlace,
  type RestoreInPlaceServices,
  type RestorePlan,
} from './restore-in-place';
import type { Snapshots } from './snapshots';

const ENDPOINT = { type: 'read_write', suspendTimeoutSeconds: 0, minComputeUnits: 0, maxComputeUnits: 0 };

export interface RestoreSnapshotServices extends RestoreInPlaceServices {
  readonly projects: Projects;
  readonly snapshots: Snapshots;
  readonly inPlace: RestoreInPlace;
  readonly heads: Heads;
  readonly passwords: Passwords;
  readonly proxy: ProxyAddress;
}

export class RestoreSnapshot {
  readonly #s: RestoreSnapshotServices;

  constructor(services: RestoreSnapshotServices) {
    this.#s = services;
  }

  async restore(
    caller: Caller,
    request: RestoreSnapshotRequest,
    context: CallContext,
  ): Promise<BranchCreated> {
    const { db, projects, snapshots } = this.#s;
    return idempotently(db, caller, context, {
      method: 'restore-snapshot',
      request,
      run: async (entry) => {
        checkMayRestore(caller);
        const { row: snapshot } = await snapshots.find(caller, request);
        const project = await projects.find(caller, request.projectId);
        const targetId = request.targetBranchId || (request.finalize ? (snapshot.branch_id ?? '') : '');
        const target = targetId === '' ? undefined : await this.#branch(caller, project, targetId);
        if (!request.finalize) return this.#beside(caller, request, { project, snapshot, target, entry });
        if (!target)
          throw new CoppiceError('Invalid', 'no-target', 'the branch of the snapshot is gone', {
            remedy: 'Name a target_branch_id, or restore without finalize_restore.',
          });
        const restored = await this.#inPlace(caller, {
          target,
          preserveAs: oldName(target),
          restoredFrom: snapshot.id,
          detail: { snapshot: snapshot.id },
          source: async () => ({
            point: {
              timelineId: snapshot.timeline_id,
              lsn: snapshot.lsn,
              beforeSetup: snapshot.before_setup,
            },
            logins: { roles: snapshot.roles, databases: snapshot.databases },
          }),
          also: { idempotency: (done) => entry?.(inPlaceAnswer(done)) },
        });
        return this.#withEndpoints(inPlaceAnswer(restored), project);
      },
      reveal: async (kept) => {
        if (kept.branch.restoredFrom !== request.snapshotId || kept.branch.lastResetUnixMs === 0)
          return revealLogins(this.#s, kept);
        return this.#withEndpoints(kept, await projects.find(caller, request.projectId));
      },
    });
  }

  /** The target of a restored branch gets its state; the branch itself stays, as any other. */
  async finalize(caller: Caller, request: FinalizeRestoreRequest): Promise<{ operations: OperationModel[] }> {
    checkMayRestore(caller);
    const { db, projects, heads } = this.#s;
    const project = await projects.find(caller, request.projectId);
    const branch = await this.#branch(caller, project, request.branchId);
    if (branch.restore_target === null)
      throw new CoppiceError(
        'Conflict',
        'nothing-to-finalize',
        `branch ${branch.id} is not a restore that waits to be finalised`,
        { remedy: 'Restore a snapshot with a target_branch_id first.' },
      );
    const target = await this.#branch(caller, project, branch.restore_target);
    const { operations } = await this.#inPlace(caller, {
      target,
      preserveAs: request.name === '' ? oldName(target) : checkName('branch', request.name),
      restoredFrom: branch.restored_from ?? branch.id,
      detail: { finalized: branch.id },
      source: async () => {
        const source = await findForkSource(db, project.id, branch.id, caller.agentFilter);
        if (!source?.branch) throw branchNotFound(branch.id);
        const { timelineId, setupPending: beforeSetup } = source.branch;
        const lsn = await heads.of(project.id, source.branch, caller.signal);
        return { point: { timelineId, lsn, beforeSetup }, logins: { branchId: branch.id } };
      },
      also: { inTransaction: (tx) => settleRestore(tx, branch.id) },
    });
    return { operations: operations.map(operationModel) };
  }

  async #beside(
    caller: Caller,
    request: RestoreSnapshotRequest,
    of: {
      readonly project: ProjectRow;
      readonly snapshot: CheckpointRow;
      readonly target: BranchRow | undefined;
      readonly entry: Parameters<Parameters<typeof idempotently<BranchCreated>>[3]['run']>[0];
    },
  ): Promise<BranchCreated> {
    const { db, passwords, proxy } = this.#s;
    const { snapshot, target } = of;
    const parent =
      snapshot.branch_id === null ? undefined : await findBranch(db, of.project.id, snapshot.branch_id);
    const branch = this.#newBranch(caller, request, snapshot, parent);
    const restored = {
      restoredFrom: snapshot.id,
      restoreTarget: target?.id,
      restoreStatus: target && ('restored' as const),
    };
    const made = branchCreated(branch, proxy);
    const created = {
      ...made,
      branch: {
        ...made.branch,
        restoredFrom: restored.restoredFrom,
        restoreStatus: restored.restoreStatus ?? '',
      },
    };
    const inserted = await this.#s.quotas.spend(
      { of: { projectId: of.project.id }, wants: { branches: 1 }, signal: caller.signal },
      (quota) =>
        db
          .transaction()
          .execute(async (tx) => {
            const done = await insertBranch(tx, { ...branch, quota, idempotency: of.entry?.(created) });
            if (!done) throw snapshotChanged(snapshot);
            await markRestored(tx, branch.id, restored);
            return done;
          })
          .catch((error: unknown) => {
            throw nameTaken(error, 'branches_name', branch.name) ?? error;
          }),
    );
    return withLogins(created, inserted, passwords, proxy);
  }

  #newBranch(
    caller: Caller,
    request: RestoreSnapshotRequest,
    snapshot: CheckpointRow,
    parent: BranchRow | undefined,
  ): NewBranch {
    const { identifiers, clock } = this.#s;
    const id = identifiers.branch();
    const endpoints = newEndpoints([ENDPOINT], identifiers);
    return {
      id,
      projectId: snapshot.project_id,
      name: request.name === '' ? id : checkName('branch', request.name),
      parentId: parent?.id,
      parentLsn: parent && snapshot.lsn,
      parentTimestamp: undefined,
      isDefault: false,
      isProtected: false,
      setupPending: snapshot.before_setup,
      loginsPending: true,
      ttl: undefined,
      annotations: {},
      timeline: {
        id: identifiers.timeline(),
        ancestorId: snapshot.timeline_id,
        ancestorLsn: snapshot.lsn,
      },
      endpoints,
      loginsFrom: 'given',
      roles: snapshot.roles,
      databases: snapshot.databases,
      operations: creationOperations('create_branch', endpoints, identifiers, 0),
      audit: { agentId: caller.agentId, taskId: caller.taskId, action: 'restore-snapshot' },
      idempotency: undefined,
      quota: undefined,
      now: new Date(clock.now()),
    };
  }

  /** Restores a target, preserving it under the name asked for, or one like it when that is made up and taken. */
  async #inPlace(
    caller: Caller,
    r: {
      readonly target: BranchRow;
      readonly preserveAs: string;
      readonly restoredFrom: string;
      readonly detail: Readonly<Record<string, unknown>>;
      readonly source: () => Promise<{ point: ForkPoint; logins: RestorePlan['logins'] }>;
      readonly also: Also;
    },
  ): Promise<Restored> {
    const { db, inPlace, clock } = this.#s;
    const beganAt = clock.now();
    let { preserveAs } = r;
    return inTurns(async () => {
      const target = await findBranch(db, r.target.project_id, r.target.id);
      if (!target) throw branchNotFound(r.target.id);
      if (target.is_protected) throw branchProtected(target.id);
      const plan = {
        ...(await r.source()),
        branch: target,
        restoredFrom: r.restoredFrom,
        newParent: undefined,
        isReset: false,
        detail: r.detail,
        beganAt,
      };
      try {
        return await inPlace.run(caller, { ...plan, before: { preserveAs } }, r.also);
      } catch (error) {
        const madeUp = preserveAs === oldName(r.target);
        if (!madeUp || asCoppiceError(error).code !== 'branch-name-taken') throw error;
        preserveAs = `${r.target.name} (old ${new Date(clock.now()).toISOString()})`;
        return inPlace.run(caller, { ...plan, before: { preserveAs } }, r.also);
      }
    });
  }

  async #withEndpoints(answer: BranchCreated, project: ProjectRow): Promise<BranchCreated> {
    const { db, proxy, inPlace } = this.#s;
    const id = answer.branch.id as BranchId;
    if (answer.branch.timelineId)
      await inPlace.end(id, answer.branch.timelineId, new AbortController().signal);
    const endpoints = await listEndpoints(db, project.id, id);
    return { ...answer, endpoints: endpoints.map((e) => endpointModel(e, proxy)) };
  }

  async #branch(caller: Caller, project: ProjectRow, text: string): Promise<BranchRow> {
    checkScope(caller, project.id, text);
    const id = parseBranchId(text);
    const row = id && (await findBranch(this.#s.db, project.id, id));
    if (!row) throw branchNotFound(text);
    return row;
  }
}

/** The name of what a target was. */
function oldName(target: BranchRow): string {
  return `${target.name} (old)`;
}

/** Nothing of a target's credentials changes, so none is shown. */
function inPlaceAnswer({ branch, operations }: Restored): BranchCreated {
  return {
    branch: branchModel(branch),
    endpoints: [],
    operations: operations.map(operationModel),
    roles: [],
    databases: [],
    connectionUris: [],
  };
}

function snapshotChanged({ id }: CheckpointRow): CoppiceError {
  return new CoppiceError(
    'Conflict',
    'snapshot-changed',
    `snapshot ${id}, or the branch it is of, was deleted meanwhile`,
    { remedy: 'List the snapshots and try again.' },
  );
}

function checkMayRestore(caller: Caller): void {
  if (caller.branchId === undefined) return;
  throw new CoppiceError('Forbidden', 'key-scope', 'this API key may not make branches', {
    remedy: 'Use a key of the project.',
  });
}
