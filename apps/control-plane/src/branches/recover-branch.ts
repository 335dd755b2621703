import {
  auditBranches,
  type BranchRow,
  type CatalogTables,
  type Db,
  findBranch,
  findDeletedBranch,
  findProject,
  findRecoverableProject,
  countDeletedTogether,
  findTakenNames,
  guardQuota,
  type QuotaGuard,
  StaleQuota,
  listEndpoints,
  lockDeletedTogether,
  lockProjectTree,
  recoverBranches,
  type RecoveredBranch,
  violatedIndex,
} from '@coppice/catalog';
import type { BranchRecovered } from '@coppice/contracts';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import { type BranchId, parseBranchId, parseProjectId, type ProjectId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { branchNotFound, type Caller, checkScope, projectNotFound } from '../access/authorize';
import type { ProxyAddress } from '../credentials/connection-uri';
import type { Quotas } from '../quotas/quotas';
import { branchModel, endpointModel } from '../models';
import { giveNames, type Naming, recoveredName } from './recovered-names';
import { dueAfterReturn } from './time-to-live';

/** Names tried for one branch. */
const MAX_NAMES = 1000;
/** A fork may take a name while a recovery is about to: tried so often. */
const ATTEMPTS = 5;

export interface RecoverBranchServices {
  readonly db: Kysely<CatalogTables>;
  readonly quotas: Quotas;
  readonly proxy: ProxyAddress;
  readonly clock: Clock;
}

/** Brings deleted branches back. */
export class RecoverBranch {
  readonly #s: RecoverBranchServices;

  constructor(services: RecoverBranchServices) {
    this.#s = services;
  }

  /** The branch with all that was deleted with it: ids, endpoints, connection strings and credentials are as they were. */
  async recover(
    caller: Caller,
    request: { readonly projectId: string; readonly branchId: string },
  ): Promise<BranchRecovered> {
    const projectId = await this.#project(caller, request.projectId);
    checkScope(caller, projectId, request.branchId);
    if (caller.branchId !== undefined)
      throw new CoppiceError('Forbidden', 'key-scope', 'this API key may not recover branches', {
        remedy: 'Use a key of the project.',
      });
    const id = parseBranchId(request.branchId);
    if (!id) throw branchNotFound(request.branchId);
    const deletionId = (await findDeletedBranch(this.#s.db, projectId, id))?.deletion_id ?? null;
    const branches = await countDeletedTogether(
      this.#s.db,
      projectId,
      deletionId,
      new Date(this.#s.clock.now()),
    );
    const rows = await this.#inTurns(() =>
      this.#s.quotas.spend({ of: { projectId }, wants: { branches }, signal: caller.signal }, (quota) =>
        this.#recoverOnce(caller, projectId, id, { quota, branches }),
      ),
    );
    const models = rows.map(branchModel);
    const { db, proxy } = this.#s;
    return {
      branch: models.find((b) => b.id === id)!,
      endpoints: (await listEndpoints(db, projectId, id)).map((e) => endpointModel(e, proxy)),
      others: models.filter((b) => b.id !== id),
    };
  }

  async #inTurns<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (violatedIndex(error) !== 'branches_name' || attempt >= ATTEMPTS) throw error;
      }
    }
  }

  #recoverOnce(
    caller: Caller,
    projectId: ProjectId,
    id: BranchId,
    reserved: { readonly quota: QuotaGuard; readonly branches: number },
  ): Promise<BranchRow[]> {
    const { db, clock } = this.#s;
    const now = new Date(clock.now());
    return db.transaction().execute(async (tx) => {
      const project = await lockProjectTree(tx, projectId);
      if (!project || project.deleted_at !== null) throw projectDeleted(projectId);
      const root = await findDeletedBranch(tx, projectId, id);
      if (!root) throw (await findBranch(tx, projectId, id)) ? notDeleted(id) : branchNotFound(id);
      const rows =
        root.deletion_id === null ? [] : await lockDeletedTogether(tx, projectId, root.deletion_id, now);
      if (root.deletion_id === null || !rows.some((r) => r.id === id)) throw notRecoverable(root);
      // Some may have been purged since they were counted; none can have come.
      if (rows.length > reserved.branches) throw new StaleQuota('limits');
      await guardQuota(tx, reserved.quota);
      const recovered = await chooseNames(tx, projectId, rows, now, () => false);
      await recoverBranches(tx, root.deletion_id, recovered, now);
      await auditBranches(tx, {
        ...caller.audit,
        action: 'recover-branch',
        projectId,
        branchIds: rows.map((r) => r.id),
        detail: { deletion: root.deletion_id, root: id },
        now,
      });
      return returned(rows, recovered, now);
    });
  }

  async #project(caller: Caller, text: string): Promise<ProjectId> {
    const { db, clock } = this.#s;
    const id = parseProjectId(text);
    if (!id) throw projectNotFound(text);
    checkScope(caller, id);
    if (await findProject(db, id, caller.agentFilter)) return id;
    if (await findRecoverableProject(db, id, new Date(clock.now()), caller.agentFilter))
      throw projectDeleted(id);
    throw projectNotFound(id);
  }
}

/** How branches come back: with free names, and due again no sooner than their time to live from now. */
export async function chooseNames(
  tx: Db,
  projectId: ProjectId,
  rows: readonly BranchRow[],
  now: Date,
  isDefault: (row: BranchRow) => boolean,
): Promise<RecoveredBranch[]> {
  let naming: Naming<BranchId> = { given: new Map(), nameless: rows };
  for (let attempt = 0; attempt < MAX_NAMES && naming.nameless.length > 0; attempt++) {
    const candidates = naming.nameless.map((b) => recoveredName(b.name, attempt));
    naming = giveNames(naming, attempt, new Set(await findTakenNames(tx, projectId, candidates)));
  }
  return rows.map((row) => ({
    id: row.id,
    name: naming.given.get(row.id) ?? row.name,
    expiresAt: dueAfterReturn(row, now.getTime()),
    isDefault: isDefault(row),
  }));
}

/** The rows as they are after their recovery. */
export function returned(
  rows: readonly BranchRow[],
  recovered: readonly RecoveredBranch[],
  now: Date,
): BranchRow[] {
  const byId = new Map(recovered.map((r) => [r.id, r]));
  return rows.map((row) => {
    const r = byId.get(row.id)!;
    return {
      ...row,
      name: r.name,
      is_default: r.isDefault,
      expires_at: r.expiresAt?.getTime() ?? null,
      updated_at: now.getTime(),
      deleted_at: null,
      deletion_id: null,
      deletion_method: null,
      recoverable_until: null,
    };
  });
}

function projectDeleted(id: ProjectId): CoppiceError {
  return new CoppiceError('Conflict', 'project-deleted', `project ${id} is deleted`, {
    remedy: 'Recover the project; what was deleted with it comes back.',
  });
}

function notDeleted(id: BranchId): CoppiceError {
  return new CoppiceError('Conflict', 'branch-not-deleted', `branch ${id} is not deleted`, {
    remedy: 'There is nothing to recover.',
  });
}

function notRecoverable(row: BranchRow): CoppiceError {
  const until =
    row.recoverable_until === null ? '' : ` since ${new Date(row.recoverable_until).toISOString()}`;
  return new CoppiceError('Conflict', 'not-recoverable', `branch ${row.id} cannot be recovered${until}`, {
    remedy: 'Its recovery window is over, or it was deleted for good.',
  });
}
