import {
  type CatalogTables,
  findAgent,
  findProject,
  findTemplate,
  insertBranch,
  insertProject,
  listProjects,
  type NewBranch,
  type NewProject,
  type ProjectRow,
} from '@coppice/catalog';
import type { CallContext, CreateProjectRequest, ProjectCreated, ProjectModel } from '@coppice/contracts';
import { type Clock, CoppiceError, failpoint } from '@coppice/service-kit';
import { parseProjectId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { creationOperations } from '../branches/creation-operations';
import { type Caller, checkOperator, checkScope, checkUnbound, projectNotFound } from '../access/authorize';
import { projectsWithUse } from '../accounts/with-use';
import { idempotently } from '../access/idempotent';
import { agentNotFound, checkAgentId } from '../agents/not-found';
import { checkAnnotations } from '../branches/annotations';
import { branchCreated, newEndpoints, withLogins } from '../branches/assemble-branch';
import { revealLogins } from '../branches/branches';
import type { ProxyAddress } from '../credentials/connection-uri';
import type { Passwords } from '../credentials/passwords';
import { DEFAULT_DATABASE, setupStatements } from '../credentials/setup-sql';
import { NOTHING_USED, projectModel } from '../models';
import { decodeCursor, encodeCursor } from '../naming/cursor';
import { pageSize } from '../naming/page-size';
import type { Quotas } from '../quotas/quotas';
import type { Identifiers } from '../naming/identifiers';
import {
  checkDatabaseName,
  checkName,
  checkPgVersion,
  checkRetention,
  checkRoleName,
  checkSearch,
  checkSuspendTimeout,
  DEFAULT_RETENTION_SECONDS,
} from '../naming/limits';
import { defaultUnits, settingsFrom } from './project-settings';

const DEFAULT_PAGE = 10;
const MAX_PAGE = 400;

export interface ProjectServices {
  readonly db: Kysely<CatalogTables>;
  readonly quotas: Quotas;
  readonly identifiers: Identifiers;
  readonly passwords: Passwords;
  readonly proxy: ProxyAddress;
  readonly clock: Clock;
}

/** Makes and lists projects. */
export class Projects {
  readonly #s: ProjectServices;

  constructor(services: ProjectServices) {
    this.#s = services;
  }

  /** The project, its branch `main` on the template's timeline, an endpoint, a role and a database, in one transaction. */
  async create(caller: Caller, request: CreateProjectRequest, context: CallContext): Promise<ProjectCreated> {
    checkUnbound(caller, 'make projects');
    return idempotently(this.#s.db, caller, context, {
      method: 'create-project',
      request,
      run: async (entry) => {
        const { db, quotas, passwords, proxy } = this.#s;
        const { row, branch } = await this.#plan(caller, request);
        const created = {
          project: {
            ...projectModel({
              ...row,
              created_at: branch.now.getTime(),
              updated_at: branch.now.getTime(),
              deleted_at: null,
              deletion_id: null,
              recoverable_until: null,
            }),
            consumption: NOTHING_USED,
          },
          ...branchCreated(branch, proxy),
        };
        const inserted = await quotas.spend(
          { of: { agentId: row.agent_id }, wants: { projects: 1, branches: 1 }, signal: caller.signal },
          (quota) =>
            db.transaction().execute(async (tx) => {
              await insertProject(tx, { row, now: branch.now });
              return insertBranch(tx, { ...branch, quota, idempotency: entry?.(created) });
            }),
        );
        if (!inserted)
          throw new CoppiceError('Conflict', 'template-changed', 'the template is being replaced', {
            remedy: 'Try again.',
          });
        failpoint('create-project-after-commit');
        return withLogins(created, inserted, passwords, proxy);
      },
      reveal: (kept) => revealLogins(this.#s, kept),
    });
  }

  async #plan(
    caller: Caller,
    request: CreateProjectRequest,
  ): Promise<{ row: NewProject['row']; branch: NewBranch }> {
    const { db, identifiers, clock } = this.#s;
    const began = clock.monotonic();
    const pgVersion = checkPgVersion(request.pgVersion);
    const database = checkDatabaseName(request.databaseName || DEFAULT_DATABASE);
    const role = checkRoleName(request.roleName || `${database}_owner`);
    const id = identifiers.project();
    const branchId = identifiers.branch();
    const setup = setupStatements(role, database);
    const owner = await this.#owner(caller, request.agentId);
    const row = {
      id,
      agent_id: owner,
      name: request.name === '' ? id : checkName('project', request.name),
      pg_version: pgVersion,
      default_branch_id: branchId,
      history_retention_seconds: checkRetention(request.historyRetentionSeconds || DEFAULT_RETENTION_SECONDS),
      suspend_timeout_seconds: checkSuspendTimeout(request.suspendTimeoutSeconds),
      setup_sql: setup,
      settings: settingsFrom(request.settings),
      ...defaultUnits({ min: request.minComputeUnits, max: request.maxComputeUnits }),
    };
    const branchName = checkName('branch', request.branchName || 'main');
    const template = await findTemplate(db, pgVersion);
    if (template?.lsn === undefined) {
      throw new CoppiceError(
        'NotYet',
        'template-not-ready',
        `the template of PostgreSQL ${pgVersion} is still being built`,
        { remedy: 'Try again in a few seconds.' },
      );
    }
    const endpoints = newEndpoints(
      [{ ...request, type: 'read_write', suspendTimeoutSeconds: 0 }],
      identifiers,
    );
    return {
      row,
      branch: {
        id: branchId,
        projectId: id,
        name: branchName,
        parentId: undefined,
        parentLsn: undefined,
        parentTimestamp: undefined,
        isDefault: true,
        isProtected: false,
        setupPending: setup.length > 0,
        ttl: undefined,
        annotations: checkAnnotations(request.annotations),
        timeline: { id: identifiers.timeline(), ancestorId: template.timelineId, ancestorLsn: template.lsn },
        endpoints,
        roles: [role],
        databases: [{ name: database, ownerName: role }],
        operations: creationOperations('create_timeline', endpoints, identifiers, clock.monotonic() - began),
        audit: { ...caller.audit, action: 'create-project' },
        idempotency: undefined,
        quota: undefined,
        now: new Date(clock.now()),
      },
    };
  }

  /** Operators make projects for any agent, others for themselves. */
  async #owner(caller: Caller, agentId: string): Promise<string> {
    if (agentId === '' || agentId === caller.agentId) return caller.agentId;
    checkOperator(caller, 'make projects for other agents');
    if (!(await findAgent(this.#s.db, checkAgentId(agentId)))) throw agentNotFound(agentId);
    return agentId;
  }

  async list(
    caller: Caller,
    request: { cursor: string; limit: number; search: string; deleted: boolean },
  ): Promise<{ projects: ProjectModel[]; nextCursor: string }> {
    if (caller.projectId !== undefined) {
      const own = request.deleted ? [] : [await this.get(caller, { projectId: caller.projectId })];
      return { projects: own, nextCursor: '' };
    }
    const limit = pageSize(request.limit, DEFAULT_PAGE, MAX_PAGE);
    const after = decodeCursor(request.cursor, 'number');
    const rows = await listProjects(this.#s.db, {
      search: checkSearch(request.search),
      limit: limit + 1,
      ...(request.deleted ? { recoverableAt: new Date(this.#s.clock.now()) } : {}),
      ...(caller.agentFilter === undefined ? {} : { agentId: caller.agentFilter }),
      ...(after ? { after } : {}),
    });
    const last = rows.length > limit ? rows[limit - 1] : undefined;
    return {
      projects: await projectsWithUse(this.#s.db, rows.slice(0, limit), this.#s.clock.now()),
      nextCursor: last ? encodeCursor({ key: last.created_at, id: last.id }) : '',
    };
  }

  async get(caller: Caller, request: { projectId: string }): Promise<ProjectModel> {
    const row = await this.find(caller, request.projectId);
    const [model] = await projectsWithUse(this.#s.db, [row], this.#s.clock.now());
    return model!;
  }

  /** A project that the caller may see. */
  async find(caller: Caller, text: string): Promise<ProjectRow> {
    const id = parseProjectId(text);
    if (!id) throw projectNotFound(text);
    checkScope(caller, id);
    const row = await findProject(this.#s.db, id, caller.agentFilter);
    if (!row) throw projectNotFound(id);
    return row;
  }
}
