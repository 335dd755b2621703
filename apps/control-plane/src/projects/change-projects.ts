/** Changing, ending and recovering projects. */
import {
  type Actor,
  type BranchRow,
  type CatalogTables,
  auditBranches,
  countDeletedTogether,
  guardQuota,
  StaleQuota,
  findLiveComputes,
  findProtectedBranch,
  findRecoverableProject,
  lockDeletedTogether,
  lockProjectTree,
  markProjectDeleted,
  type ProjectRow,
  recordAudit,
  recoverBranches,
  recoverProject,
  updateProject,
} from '@coppice/catalog';
import type {
  DeleteProjectRequest,
  ProjectChanged,
  ProjectModel,
  ProjectRecovered,
  UpdateProjectRequest,
} from '@coppice/contracts';
import { type Clock, CoppiceError, failpoint, Semaphore } from '@coppice/service-kit';
import { parseProjectId, type ProjectId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { type Caller, checkUnbound, projectNotFound } from '../access/authorize';
import { protectedBranch } from '../branches/deletion-plan';
import { chooseNames, returned } from '../branches/recover-branch';
import type { SuspendCompute } from '../computes/suspend-compute';
import { branchModel, projectModel } from '../models';
import type { Identifiers } from '../naming/identifiers';
import { planProjectUpdate } from './project-settings';
import type { Quotas } from '../quotas/quotas';
import type { Projects } from './projects';

/** Stops under way at once. */
const AT_ONCE = 8;
/** Computes that a request waits for; whoever looks for left-over stops ends the others. */
const WAITED_FOR = 200;

export interface ChangeProjectsServices {
  readonly db: Kysely<CatalogTables>;
  readonly quotas: Quotas;
  readonly projects: Projects;
  readonly suspend: SuspendCompute;
  readonly identifiers: Identifiers;
  readonly clock: Clock;
  /** How long what is deleted can be recovered, milliseconds. */
  readonly recoveryWindowMs: number;
}

export class ChangeProjects {
  readonly #s: ChangeProjectsServices;

  constructor(services: ChangeProjectsServices) {
    this.#s = services;
  }

  async update(caller: Caller, request: UpdateProjectRequest): Promise<ProjectChanged> {
    const { db, projects, clock } = this.#s;
    const { id } = await projects.find(caller, request.projectId);
    if (caller.branchId !== undefined) checkUnbound(caller, 'change projects');
    const now = new Date(clock.now());
    const changed = await db.transaction().execute(async (tx) => {
      const row = await lockProjectTree(tx, id);
      const after =
        row?.deleted_at === null
          ? await updateProject(tx, id, planProjectUpdate(row, request), now)
          : undefined;
      if (!after) throw projectNotFound(id);
      await recordAudit(tx, { ...caller.audit, action: 'update-project', projectId: id, now });
      return after;
    });
    return { project: projectModel(changed), operations: [] };
  }

  async delete(caller: Caller, request: DeleteProjectRequest): Promise<{ project: ProjectModel }> {
    checkUnbound(caller, 'delete projects');
    const { id } = await this.#s.projects.find(caller, request.projectId);
    return { project: projectModel(await this.end(caller.audit, id, request.hard)) };
  }

  /** Deletes a project with all its branches. Refused while one is protected. */
  async end(actor: Actor, projectId: ProjectId, hard: boolean): Promise<ProjectRow> {
    const { db, clock, identifiers, recoveryWindowMs } = this.#s;
    const now = new Date(clock.now());
    const recoverableUntil = new Date(now.getTime() + (hard ? 0 : recoveryWindowMs));
    const deletion = { id: identifiers.deletion(), method: 'user' as const, recoverableUntil, now };
    const row = await db.transaction().execute(async (tx) => {
      const project = await lockProjectTree(tx, projectId);
      if (project?.deleted_at !== null) throw projectNotFound(projectId);
      const shielded = await findProtectedBranch(tx, projectId);
      if (shielded) throw protectedBranch(shielded);
      await markProjectDeleted(tx, projectId, deletion);
      const detail = { deletion: deletion.id, hard };
      await recordAudit(tx, { ...actor, action: 'delete-project', projectId, detail, now });
      return project;
    });
    failpoint('delete-before-ending-computes');
    const permits = new Semaphore(AT_ONCE);
    const live = (await findLiveComputes(db, { projectId })).slice(0, WAITED_FOR);
    await Promise.all(live.map((compute) => permits.run(() => this.#s.suspend.discard(compute))));
    const at = now.getTime();
    return { ...row, deleted_at: at, updated_at: at, recoverable_until: recoverableUntil.getTime() };
  }

  /** Brings a project back with the branches that were deleted with it. */
  async recover(caller: Caller, request: { readonly projectId: string }): Promise<ProjectRecovered> {
    checkUnbound(caller, 'recover projects');
    const { db, clock, projects } = this.#s;
    const id = parseProjectId(request.projectId);
    if (!id) throw projectNotFound(request.projectId);
    const now = new Date(clock.now());
    const gone = await findRecoverableProject(db, id, now, caller.agentFilter);
    const branches =
      gone &&
      (await this.#recover(caller, gone, await countDeletedTogether(db, id, gone.deletion_id, now), now));
    // What is live, or not the caller's, is told apart here; what is neither is gone.
    const project = await projects.get(caller, { projectId: id });
    if (!branches) throw notDeleted(id);
    return { project, branches: branches.map(branchModel) };
  }

  async #recover(
    caller: Caller,
    { id, agent_id: agentId }: ProjectRow,
    count: number,
    now: Date,
  ): Promise<BranchRow[]> {
    const { db, quotas } = this.#s;
    const wants = { projects: 1, branches: count };
    return quotas.spend({ of: { agentId }, wants, signal: caller.signal }, (quota) =>
      db.transaction().execute(async (tx) => {
        await lockProjectTree(tx, id);
        const project = await findRecoverableProject(tx, id, now, caller.agentFilter);
        if (!project) throw notDeleted(id);
        await guardQuota(tx, quota);
        const rows =
          project.deletion_id === null ? [] : await lockDeletedTogether(tx, id, project.deletion_id, now);
        const standard = defaultAmong(rows, project);
        if (project.deletion_id === null || !standard) throw notDeleted(id);
        if (rows.length > count) throw new StaleQuota('limits');
        const recovered = await chooseNames(tx, id, rows, now, (row) => row.id === standard.id);
        await recoverBranches(tx, project.deletion_id, recovered, now);
        await recoverProject(tx, id, standard.id, now);
        const detail = { deletion: project.deletion_id };
        await recordAudit(tx, { ...caller.audit, action: 'recover-project', projectId: id, detail, now });
        const branchIds = rows.map((r) => r.id);
        await auditBranches(tx, {
          ...caller.audit,
          action: 'recover-branch',
          projectId: id,
          branchIds,
          detail,
          now,
        });
        return returned(rows, recovered, now);
      }),
    );
  }
}

function notDeleted(id: ProjectId): CoppiceError {
  return new CoppiceError('Conflict', 'project-not-deleted', `project ${id} is not deleted`, {
    remedy: 'There is nothing to recover.',
  });
}

function defaultAmong(rows: readonly BranchRow[], project: ProjectRow): BranchRow | undefined {
  const oldest = [...rows].sort((a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1))[0];
  return rows.find((r) => r.id === project.default_branch_id) ?? oldest;
}
