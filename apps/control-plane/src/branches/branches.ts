import {
  countBranches,
  type Db,
  findBranch,
  findForkSource,
  listBranches,
  listDatabases,
  listRoles,
  type NewBranch,
  type ProjectOwner,
  violatedIndex,
} from '@coppice/catalog';
import type {
  BranchCreated,
  BranchModel,
  CallContext,
  CountBranchesRequest,
  CreateBranchRequest,
  ListBranchesRequest,
} from '@coppice/contracts';
import { type Clock, CoppiceError, failpoint } from '@coppice/service-kit';
import { type BranchId, formatLsn, parseBranchId, parseProjectId, type ProjectId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import type { CatalogTables } from '@coppice/catalog';
import { creationOperations } from './creation-operations';
import { branchesWithUse } from '../accounts/with-use';
import { branchNotFound, type Caller, checkScope, projectNotFound } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import type { ProxyAddress } from '../credentials/connection-uri';
import type { Passwords } from '../credentials/passwords';
import type { FindForkPoint } from '../forks/find-fork-point';
import { type ForkSources, keyOfBranch } from '../forks/fork-sources';
import { forkRequest, isInPast, requestedTime } from '../forks/fork-request';
import type { Heads } from '../forks/heads';
import { decodeCursor, encodeCursor } from '../naming/cursor';
import type { Identifiers } from '../naming/identifiers';
import { checkName, checkSearch } from '../naming/limits';
import { pageSize } from '../naming/page-size';
import type { Quotas } from '../quotas/quotas';
import { checkAnnotations } from './annotations';
import { branchCreated, newEndpoints, withLogins } from './assemble-branch';
import type { InsertTogether } from './insert-together';
import { planTtl } from './time-to-live';

const DEFAULT_PAGE = 10_000;

export interface BranchServices {
  readonly db: Kysely<CatalogTables>;
  readonly quotas: Quotas;
  readonly forkSources: ForkSources;
  readonly forkPoint: FindForkPoint;
  readonly heads: Heads;
  readonly insertTogether: InsertTogether;
  readonly identifiers: Identifiers;
  readonly passwords: Passwords;
  readonly proxy: ProxyAddress;
  readonly clock: Clock;
}

/** Makes and lists branches. */
export class Branches {
  readonly #s: BranchServices;

  constructor(services: BranchServices) {
    this.#s = services;
  }

  async create(caller: Caller, request: CreateBranchRequest, context: CallContext): Promise<BranchCreated> {
    return idempotently(this.#s.db, caller, context, {
      method: 'create-branch',
      request,
      run: async (entry) => {
        const { branch, owner } = await this.#plan(caller, request);
        const created = branchCreated(branch, this.#s.proxy);
        const inserted = await this.#s.quotas.spend(
          { of: owner, owner, wants: { branches: 1 }, signal: caller.signal },
          async (quota) => {
            failpoint('create-branch-before-commit');
            const done = await this.#s.insertTogether
              .insert({ ...branch, quota, idempotency: entry?.(created) })
              .catch((error: unknown) => {
                throw nameTaken(error, 'branches_name', branch.name) ?? error;
              });
            // Within, so that the reservation is given back.
            if (!done) throw goneMeanwhile(branch);
            return done;
          },
        );
        failpoint('create-branch-after-commit');
        return withLogins(created, inserted, this.#s.passwords, this.#s.proxy);
      },
      reveal: (kept) => revealLogins(this.#s, kept),
    });
  }

  async #plan(
    caller: Caller,
    request: CreateBranchRequest,
  ): Promise<{ branch: NewBranch; owner: ProjectOwner }> {
    const { clock, identifiers, forkSources, forkPoint, heads } = this.#s;
    const began = clock.monotonic();
    const projectId = parseProjectId(request.projectId);
    if (!projectId) throw projectNotFound(request.projectId);
    checkScope(caller, projectId, request.parentId || undefined);
    if (caller.branchId !== undefined)
      throw new CoppiceError('Forbidden', 'key-scope', 'this API key may not make branches', {
        remedy: 'Use a key of the project.',
      });
    checkInitSource(request.initSource);
    const at = forkRequest(
      {
        lsn: request.parentLsn,
        unixMicros: request.parentTimestampUnixMicros,
        checkpoint: request.parentCheckpoint,
      },
      { lsn: 'parent_lsn', time: 'parent_timestamp', checkpoint: 'parent_checkpoint' },
    );
    const endpoints = newEndpoints(request.endpoints, identifiers);
    const parentId = request.parentId === '' ? undefined : parseBranchId(request.parentId);
    if (request.parentId !== '' && !parentId) throw branchNotFound(request.parentId);
    const parent = { projectId, branchId: parentId, agentId: caller.agentFilter };
    const early = at.checkpoint === undefined ? heads.early(keyOfBranch(parent)) : undefined;
    const source = await forkSources.find(parent);
    if (!source) throw projectNotFound(projectId);
    if (!source.branch) throw branchNotFound(request.parentId);
    const point = await forkPoint.find(source, source.branch, at, caller.signal, early);
    const id = identifiers.branch();
    const branch: NewBranch = {
      id,
      projectId,
      name: request.name === '' ? id : checkName('branch', request.name),
      parentId: source.branch.id,
      parentLsn: point.lsn,
      parentTimestamp: requestedTime(at),
      isDefault: false,
      isProtected: request.isProtected,
      setupPending: point.beforeSetup,
      loginsPending: isInPast(at),
      ttl:
        request.ttl &&
        planTtl(request.ttl, { isDefault: false, isProtected: request.isProtected }, clock.now()),
      annotations: checkAnnotations(request.annotations),
      timeline: { id: identifiers.timeline(), ancestorId: point.timelineId, ancestorLsn: point.lsn },
      endpoints,
      roles: [],
      databases: [],
      operations: creationOperations('create_branch', endpoints, identifiers, clock.monotonic() - began),
      audit: { ...caller.audit, action: 'create-branch' },
      idempotency: undefined,
      quota: undefined,
      now: new Date(clock.now()),
    };
    return { branch, owner: source.owner };
  }

  async list(
    caller: Caller,
    request: ListBranchesRequest,
  ): Promise<{ branches: BranchModel[]; nextCursor: string }> {
    if (caller.branchId !== undefined) {
      const own = { projectId: request.projectId, branchId: caller.branchId };
      return { branches: [await this.get(caller, own)], nextCursor: '' };
    }
    const projectId = await this.#project(caller, request.projectId);
    const sortBy = sortColumn(request.sortBy);
    const descending = request.sortOrder === '' ? sortBy !== 'name' : request.sortOrder === 'desc';
    const limit = pageSize(request.limit, DEFAULT_PAGE, DEFAULT_PAGE);
    const after = decodeCursor(request.cursor, sortBy === 'name' ? 'string' : 'number');
    const rows = await listBranches(this.#s.db, {
      projectId,
      sortBy,
      descending,
      search: checkSearch(request.search),
      limit: limit + 1,
      ...(request.includeDeleted ? { recoverableAt: new Date(this.#s.clock.now()) } : {}),
      ...(after ? { after } : {}),
    });
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? rows[limit - 1] : undefined;
    return {
      branches: await branchesWithUse(this.#s.db, page, this.#s.clock.now()),
      nextCursor: last ? encodeCursor({ key: last[sortBy], id: last.id }) : '',
    };
  }

  async count(caller: Caller, request: CountBranchesRequest): Promise<{ count: number }> {
    const projectId = await this.#project(caller, request.projectId);
    const search = checkSearch(request.search);
    return { count: await countBranches(this.#s.db, projectId, { search, only: caller.branchId }) };
  }

  async get(caller: Caller, request: { projectId: string; branchId: string }): Promise<BranchModel> {
    const projectId = await this.#project(caller, request.projectId, request.branchId);
    const id = parseBranchId(request.branchId);
    const row = id && (await findBranch(this.#s.db, projectId, id));
    if (!row) throw branchNotFound(request.branchId);
    const [model] = await branchesWithUse(this.#s.db, [row], this.#s.clock.now());
    return model!;
  }

  async #project(caller: Caller, text: string, branchId?: string): Promise<ProjectId> {
    const projectId = parseProjectId(text);
    if (!projectId) throw projectNotFound(text);
    checkScope(caller, projectId, branchId);
    if (!(await findForkSource(this.#s.db, projectId, undefined, caller.agentFilter)))
      throw projectNotFound(projectId);
    return projectId;
  }
}

/** A branch without the parent's rows would be another thing: better none than one that holds what it must not. */
function checkInitSource(text: string): void {
  if (text === '' || text === 'parent-data') return;
  throw new CoppiceError(
    'Invalid',
    'unsupported-init-source',
    `branches with init_source ${JSON.stringify(text.slice(0, 40))} are not offered`,
    { remedy: 'Leave it out, or apply the SQL of GET …/schema to a new project.' },
  );
}

/** A kept answer with its roles, passwords and connection strings again. */
export async function revealLogins<T extends BranchCreated>(
  s: { readonly db: Db; readonly passwords: Passwords; readonly proxy: ProxyAddress },
  kept: T,
): Promise<T> {
  const branchId = kept.branch.id as BranchId;
  const ofThatTime = (row: { created_at: number }): boolean => row.created_at === kept.branch.createdUnixMs;
  const roles = (await listRoles(s.db, branchId)).filter(ofThatTime).map((r) => r.name);
  const databases = (await listDatabases(s.db, branchId))
    .filter(ofThatTime)
    .map((d) => ({ id: d.id, name: d.name, ownerName: d.owner_name }));
  return withLogins(kept, { roles, databases }, s.passwords, s.proxy);
}

/** The refusal of a name that is in use; `undefined` for any other failure. */
export function nameTaken(error: unknown, index: string, name: string): CoppiceError | undefined {
  if (violatedIndex(error) !== index) return undefined;
  return new CoppiceError(
    'Conflict',
    'branch-name-taken',
    `a branch named ${JSON.stringify(name)} exists in this project`,
    { remedy: 'Choose another name, or leave it out to have one made up.', cause: error },
  );
}

function sortColumn(text: string): 'name' | 'created_at' | 'updated_at' {
  if (text === '') return 'updated_at';
  if (text === 'name' || text === 'created_at' || text === 'updated_at') return text;
  throw new CoppiceError('Malformed', 'bad-sort', `sort_by is ${JSON.stringify(text.slice(0, 40))}`, {
    remedy: 'Use name, created_at or updated_at.',
  });
}

function goneMeanwhile(b: NewBranch): CoppiceError {
  return new CoppiceError(
    'Conflict',
    'parent-changed',
    `branch ${b.parentId ?? ''} was deleted, or no longer keeps LSN ${formatLsn(b.timeline.ancestorLsn)}`,
    {
      remedy: 'List the branches and try again.',
    },
  );
}
