import {
  type CheckpointRow,
  deleteCheckpoint,
  findBranch,
  findCheckpoint,
  listCheckpoints,
  recordAudit,
  violatedIndex,
} from '@coppice/catalog';
import type {
  CallContext,
  CheckpointList,
  CheckpointModel,
  CheckpointRef,
  CreateCheckpointRequest,
  ListCheckpointsRequest,
} from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { type BranchId, parseBranchId, type ProjectId } from '@coppice/vocabulary';
import { branchNotFound, type Caller, checkScope } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import { checkpointNotFound } from '../forks/find-fork-point';
import { decodeCursor, encodeCursor } from '../naming/cursor';
import type { Identifiers } from '../naming/identifiers';
import { checkName } from '../naming/limits';
import { pageSize } from '../naming/page-size';
import type { Projects } from '../projects/projects';
import { keepPosition, type KeepServices } from './keep-position';
import { checkpointModel } from './models';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1_000;
/** Ids of checkpoints begin so, and names must not, because either names one. */
const ID_PREFIX = 'ckpt-';

export interface CheckpointServices extends KeepServices {
  readonly projects: Projects;
  readonly identifiers: Identifiers;
}

/** Makes, lists and deletes names for states of a branch. */
export class Checkpoints {
  readonly #s: CheckpointServices;

  constructor(services: CheckpointServices) {
    this.#s = services;
  }

  async create(
    caller: Caller,
    request: CreateCheckpointRequest,
    context: CallContext,
  ): Promise<CheckpointModel> {
    const { db, projects, identifiers } = this.#s;
    return idempotently(db, caller, context, {
      method: 'create-checkpoint',
      request,
      run: async (entry) => {
        const id = identifiers.checkpoint();
        const name = request.name === '' ? id : checkCheckpointName(request.name);
        const project = await projects.find(caller, request.projectId);
        const row = await keepPosition(this.#s, caller, {
          ...request,
          kind: 'checkpoint',
          id,
          name,
          project,
          operations: [],
          idempotency: entry && ((made) => entry(checkpointModel(made))),
        }).catch((error: unknown) => {
          if (violatedIndex(error) !== 'checkpoints_name') throw error;
          throw new CoppiceError(
            'Conflict',
            'checkpoint-name-taken',
            `a checkpoint named ${JSON.stringify(name)} exists on branch ${request.branchId}`,
            { remedy: 'Choose another name, or leave it out to have one made up.', cause: error },
          );
        });
        return checkpointModel(row);
      },
      reveal: async (kept) => kept,
    });
  }

  async list(caller: Caller, request: ListCheckpointsRequest): Promise<CheckpointList> {
    const { db, clock } = this.#s;
    const { branchId } = await this.#branch(caller, request);
    const limit = pageSize(request.limit, DEFAULT_PAGE, MAX_PAGE);
    const rows = await listCheckpoints(db, branchId, {
      limit: limit + 1,
      after: decodeCursor(request.cursor, 'number'),
      now: new Date(clock.now()),
    });
    const last = rows.length > limit ? rows[limit - 1] : undefined;
    return {
      checkpoints: rows.slice(0, limit).map(checkpointModel),
      nextCursor: last ? encodeCursor({ key: last.created_at, id: last.id }) : '',
    };
  }

  async delete(caller: Caller, request: CheckpointRef): Promise<CheckpointModel> {
    const { db, clock } = this.#s;
    const of = await this.#branch(caller, request);
    const now = new Date(clock.now());
    const row = await db.transaction().execute(async (tx): Promise<CheckpointRow | undefined> => {
      const found = await findCheckpoint(tx, of, request.checkpoint, now);
      if (!found || !(await deleteCheckpoint(tx, found.id, now))) return undefined;
      await recordAudit(tx, {
        ...caller.audit,
        action: 'delete-checkpoint',
        ...of,
        detail: { checkpoint: found.id, name: found.name },
        now,
      });
      return found;
    });
    if (!row) throw checkpointNotFound(request.checkpoint, of.branchId);
    return checkpointModel(row);
  }

  async #branch(
    caller: Caller,
    request: { readonly projectId: string; readonly branchId: string },
  ): Promise<{ projectId: ProjectId; branchId: BranchId }> {
    const project = await this.#s.projects.find(caller, request.projectId);
    checkScope(caller, project.id, request.branchId);
    const id = parseBranchId(request.branchId);
    const row = id && (await findBranch(this.#s.db, project.id, id));
    if (!row) throw branchNotFound(request.branchId);
    return { projectId: project.id, branchId: row.id };
  }
}

function checkCheckpointName(name: string): string {
  if (!name.startsWith(ID_PREFIX)) return checkName('checkpoint', name);
  throw new CoppiceError('Invalid', 'bad-name', `names of checkpoints do not begin with ${ID_PREFIX}`, {
    remedy: 'Choose another name: ids begin so.',
  });
}
