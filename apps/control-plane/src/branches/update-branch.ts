/** Changes of a branch in place: name, protection, time to live, annotations, and which branch is the default one. */
import {
  type BranchChanges,
  type BranchRow,
  type CatalogTables,
  type Db,
  findBranch,
  lockBranches,
  lockProjectTree,
  recordAudit,
  renewBranch,
  setDefaultBranch,
  updateBranch,
} from '@coppice/catalog';
import type { BranchChanged, BranchRef, UpdateBranchRequest } from '@coppice/contracts';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import { type BranchId, parseBranchId, type ProjectId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { branchNotFound, type Caller, checkScope } from '../access/authorize';
import { branchModel } from '../models';
import { checkName } from '../naming/limits';
import type { Projects } from '../projects/projects';
import { checkAnnotations } from './annotations';
import { nameTaken } from './branches';
import { planTtl, ttlOf } from './time-to-live';

export interface UpdateBranchServices {
  readonly db: Kysely<CatalogTables>;
  readonly projects: Projects;
  readonly clock: Clock;
}

export class UpdateBranch {
  readonly #s: UpdateBranchServices;

  constructor(services: UpdateBranchServices) {
    this.#s = services;
  }

  async update(caller: Caller, request: UpdateBranchRequest): Promise<BranchChanged> {
    return this.#change(caller, request, 'update-branch', async (tx, row, now) => {
      const changes = planUpdate(row, request, now.getTime());
      return updateBranch(tx, row.id, changes, now).catch((error: unknown) => {
        throw nameTaken(error, 'branches_name', changes.name) ?? error;
      });
    });
  }

  async setDefault(caller: Caller, request: BranchRef): Promise<BranchChanged> {
    if (caller.branchId !== undefined)
      throw new CoppiceError('Forbidden', 'key-scope', 'this API key may not choose the default branch', {
        remedy: 'Use a key of the project.',
      });
    return this.#change(caller, request, 'set-default-branch', async (tx, row, now, former) => {
      if (row.is_default) return row;
      if (ttlOf(row))
        throw new CoppiceError(
          'Invalid',
          'default-branch-ttl',
          `branch ${row.id} ends by itself at ${new Date(row.expires_at ?? 0).toISOString()}`,
          { remedy: 'Remove its time to live first.' },
        );
      await setDefaultBranch(tx, row.project_id, { from: former, to: row.id }, now);
      return { ...row, is_default: true, updated_at: now.getTime() };
    });
  }

  /** Not in the audit log: whoever holds a lease renews it every few seconds. */
  async renew(caller: Caller, request: BranchRef): Promise<BranchChanged> {
    const { db, clock } = this.#s;
    const { projectId, id } = await this.#find(caller, request);
    const row = await renewBranch(db, projectId, id, new Date(clock.now()));
    if (row) return { branch: branchModel(row), operations: [] };
    if (!(await findBranch(db, projectId, id))) throw branchNotFound(id);
    throw new CoppiceError('Invalid', 'branch-has-no-ttl', `branch ${id} has no time to live to renew`, {
      remedy: 'Give it one first, or leave it: it lives until it is deleted.',
    });
  }

  async #change(
    caller: Caller,
    request: BranchRef,
    action: string,
    work: (tx: Db, row: BranchRow, now: Date, defaultBranch: BranchId) => Promise<BranchRow | undefined>,
  ): Promise<BranchChanged> {
    const { db, clock } = this.#s;
    const { projectId, id } = await this.#find(caller, request);
    const now = new Date(clock.now());
    const changed = await db.transaction().execute(async (tx) => {
      const project = await lockProjectTree(tx, projectId);
      const [row] = await lockBranches(tx, [id]);
      if (!project || row?.project_id !== projectId) throw branchNotFound(id);
      const after = await work(tx, row, now, project.default_branch_id);
      if (!after) throw branchNotFound(id);
      await recordAudit(tx, { ...caller.audit, action, projectId, branchId: id, now });
      return after;
    });
    return { branch: branchModel(changed), operations: [] };
  }

  async #find(caller: Caller, request: BranchRef): Promise<{ projectId: ProjectId; id: BranchId }> {
    const { id: projectId } = await this.#s.projects.find(caller, request.projectId);
    checkScope(caller, projectId, request.branchId);
    const id = parseBranchId(request.branchId);
    if (!id) throw branchNotFound(request.branchId);
    return { projectId, id };
  }
}

/** What a branch is after a request. Pure. Throws when it may not be that. */
export function planUpdate(row: BranchRow, request: UpdateBranchRequest, nowMs: number): BranchChanges {
  if (request.noTtl && request.ttl)
    throw new CoppiceError('Malformed', 'two-ttls', 'a time to live is both given and taken away', {
      remedy: 'Give ttl or no_ttl.',
    });
  const isProtected = request.isProtected ?? row.is_protected;
  const kept = request.noTtl ? undefined : ttlOf(row);
  const ttl = request.ttl ? planTtl(request.ttl, { isDefault: row.is_default, isProtected }, nowMs) : kept;
  if (isProtected && ttl)
    throw new CoppiceError(
      'Conflict',
      'branch-has-ttl',
      `branch ${row.id} ends by itself at ${ttl.expiresAt.toISOString()} and cannot be protected`,
      { remedy: 'Remove its time to live first.' },
    );
  if (request.name === '')
    throw new CoppiceError('Invalid', 'bad-name', 'the branch name is empty', {
      remedy: 'Choose a name, or leave it out to keep the one it has.',
    });
  return {
    name: request.name === undefined ? row.name : checkName('branch', request.name),
    isProtected,
    ttl,
    annotations: request.setAnnotations ? checkAnnotations(request.annotations) : row.annotations,
  };
}
