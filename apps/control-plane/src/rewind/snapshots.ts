import {
  type CheckpointRow,
  deleteCheckpoint,
  findSnapshot,
  listSnapshots,
  recordAudit,
  recordOperations,
  renameSnapshot,
} from '@coppice/catalog';
import type {
  CallContext,
  CreateSnapshotRequest,
  OperationModel,
  SnapshotChanged,
  SnapshotList,
  SnapshotRef,
  UpdateSnapshotRequest,
} from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { type BranchId, parseBranchId, type ProjectId } from '@coppice/vocabulary';
import { type Caller, checkScope } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import { operationModel } from '../models';
import type { Identifiers } from '../naming/identifiers';
import { checkName } from '../naming/limits';
import { finishedOperation } from '../operations/finished-operation';
import type { Projects } from '../projects/projects';
import { keepPosition, type KeepServices, MAX_CHECKPOINTS } from './keep-position';
import { snapshotModel } from './models';

export interface SnapshotServices extends KeepServices {
  readonly projects: Projects;
  readonly identifiers: Identifiers;
}

/** Makes, lists, renames and deletes snapshots of a project's branches. */
export class Snapshots {
  readonly #s: SnapshotServices;

  constructor(services: SnapshotServices) {
    this.#s = services;
  }

  async create(
    caller: Caller,
    request: CreateSnapshotRequest,
    context: CallContext,
  ): Promise<SnapshotChanged> {
    const { db, projects, identifiers, clock } = this.#s;
    return idempotently(db, caller, context, {
      method: 'create-snapshot',
      request,
      run: async (entry) => {
        const project = await projects.find(caller, request.projectId);
        const now = clock.now();
        const id = identifiers.snapshot();
        const operation = finishedOperation({
          id: identifiers.operation(),
          action: 'create_timeline',
          projectId: project.id,
          branchId: parseBranchId(request.branchId) ?? ('' as BranchId),
          beganAt: now,
          endedAt: now,
        });
        const answer = (row: CheckpointRow): SnapshotChanged => ({
          snapshot: snapshotModel(row),
          operations: [operationModel(operation)],
        });
        const row = await keepPosition(this.#s, caller, {
          ...request,
          kind: 'snapshot',
          id,
          name: request.name === '' ? id : checkName('snapshot', request.name),
          project,
          operations: [operation],
          idempotency: entry && ((made) => entry(answer(made))),
        });
        return answer(row);
      },
      reveal: async (kept) => kept,
    });
  }

  async list(caller: Caller, request: { readonly projectId: string }): Promise<SnapshotList> {
    const project = await this.#s.projects.find(caller, request.projectId);
    const rows = await listSnapshots(
      this.#s.db,
      { projectId: project.id, branchId: caller.branchId as BranchId | undefined },
      MAX_CHECKPOINTS,
      new Date(this.#s.clock.now()),
    );
    return { snapshots: rows.map(snapshotModel) };
  }

  async update(caller: Caller, request: UpdateSnapshotRequest): Promise<SnapshotChanged> {
    const { db, clock } = this.#s;
    const { row, projectId } = await this.find(caller, request);
    if (request.name === '') return { snapshot: snapshotModel(row), operations: [] };
    const name = checkName('snapshot', request.name);
    const renamed = await db.transaction().execute(async (tx) => {
      const now = new Date(clock.now());
      await recordAudit(tx, {
        ...caller.audit,
        action: 'rename-snapshot',
        projectId,
        ...(row.branch_id === null ? {} : { branchId: row.branch_id }),
        detail: { snapshot: row.id, name, before: row.name },
        now,
      });
      return renameSnapshot(tx, row.id, name);
    });
    if (!renamed) throw snapshotNotFound(request.snapshotId);
    return { snapshot: snapshotModel(renamed), operations: [] };
  }

  async delete(caller: Caller, request: SnapshotRef): Promise<{ operations: OperationModel[] }> {
    const { db, clock, identifiers } = this.#s;
    const { row, projectId } = await this.find(caller, request);
    const now = clock.now();
    const operation = finishedOperation({
      id: identifiers.operation(),
      action: 'delete_timeline',
      projectId,
      ...(row.branch_id === null ? {} : { branchId: row.branch_id }),
      beganAt: now,
      endedAt: now,
    });
    const gone = await db.transaction().execute(async (tx) => {
      if (!(await deleteCheckpoint(tx, row.id, new Date(now)))) return false;
      await recordOperations(tx, [operation]);
      await recordAudit(tx, {
        ...caller.audit,
        action: 'delete-snapshot',
        projectId,
        ...(row.branch_id === null ? {} : { branchId: row.branch_id }),
        detail: { snapshot: row.id, name: row.name },
        now: new Date(now),
      });
      return true;
    });
    if (!gone) throw snapshotNotFound(request.snapshotId);
    return { operations: [operationModel(operation)] };
  }

  /** A snapshot that the caller may see. */
  async find(caller: Caller, request: SnapshotRef): Promise<{ row: CheckpointRow; projectId: ProjectId }> {
    const project = await this.#s.projects.find(caller, request.projectId);
    checkScope(caller, project.id);
    const row = await findSnapshot(
      this.#s.db,
      project.id,
      request.snapshotId.slice(0, 100),
      new Date(this.#s.clock.now()),
    );
    if (!row || (caller.branchId !== undefined && caller.branchId !== row.branch_id))
      throw snapshotNotFound(request.snapshotId);
    return { row, projectId: project.id };
  }
}

function snapshotNotFound(id: string): CoppiceError {
  return new CoppiceError(
    'NotFound',
    'snapshot-not-found',
    `snapshot ${JSON.stringify(id.slice(0, 60))} does not exist in this project`,
    { remedy: 'List the snapshots to see their ids.' },
  );
}
