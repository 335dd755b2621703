/** Who did what, and what was used: the audit log and the accounts, as far as a caller may see. */
import {
  type AuditRow,
  type ConsumptionRow,
  type ConsumptionScope,
  type Db,
  findProject,
  listAudit,
  listConsumingBranches,
  listProjects,
  readConsumption,
} from '@coppice/catalog';
import type {
  AuditEntryModel,
  AuditList,
  Consumption,
  ConsumptionOf,
  ConsumptionReport,
  ConsumptionRequest,
  ListAuditRequest,
} from '@coppice/contracts';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import { parseBranchId, parseProjectId, type ProjectId } from '@coppice/vocabulary';
import { branchNotFound, type Caller, checkScope, checkTaskId, projectNotFound } from '../access/authorize';
import { agentNotFound, checkAgentId } from '../agents/not-found';
import { decodeCursor, encodeCursor } from '../naming/cursor';
import { pageSize } from '../naming/page-size';
import { spanOf } from './frames';

const DEFAULT_AUDIT_PAGE = 100;
const DEFAULT_ROWS = 10;
const MAX_PAGE = 1_000;
const MAX_PROJECTS = 100;

export interface AccountServices {
  readonly db: Db;
  readonly clock: Clock;
}

/** One thing whose use is told: its key in the accounts and how answers name it. */
interface Subject {
  readonly key: string;
  readonly shown: Omit<ConsumptionOf, 'frames'>;
}
const NOBODY = { projectId: '', branchId: '', agentId: '', taskId: '' };

export class Accounts {
  readonly #s: AccountServices;

  constructor(services: AccountServices) {
    this.#s = services;
  }

  async audit(caller: Caller, request: ListAuditRequest): Promise<AuditList> {
    const projectId = caller.projectId ?? this.#projectId(request.projectId);
    const branchId = request.branchId || caller.branchId;
    if (projectId !== undefined) checkScope(caller, projectId, branchId);
    if (request.projectId !== '' && projectId !== request.projectId) throw projectNotFound(request.projectId);
    const parsedBranch = branchId === undefined ? undefined : parseBranchId(branchId);
    if (branchId !== undefined && !parsedBranch) throw branchNotFound(branchId);
    const limit = pageSize(request.limit, DEFAULT_AUDIT_PAGE, MAX_PAGE);
    const after = decodeCursor(request.cursor, 'number');
    const rows = await listAudit(this.#s.db, {
      visibleTo: caller.agentFilter,
      projectId,
      branchId: parsedBranch,
      agentId: request.agentId === '' ? undefined : checkAgentId(request.agentId),
      taskId: request.taskId === '' ? undefined : checkTaskId(request.taskId),
      beforeId: after?.key,
      limit: limit + 1,
    });
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page.at(-1) : undefined;
    return {
      entries: page.map(auditModel),
      nextCursor: last ? encodeCursor({ key: last.id, id: String(last.id) }) : '',
    };
  }

  async consumption(caller: Caller, request: ConsumptionRequest): Promise<ConsumptionReport> {
    const now = this.#s.clock.now();
    const span = spanOf(request, now);
    const limit = pageSize(request.limit, DEFAULT_ROWS, MAX_PAGE);
    const by = scopeOf(request.by);
    const { subjects, nextCursor } = await this.#subjects(caller, by, request, span.to, limit);
    const rows = await readConsumption(
      this.#s.db,
      { by, agentId: caller.agentFilter, ...span, now: new Date(now) },
      subjects.map((s) => s.key),
    );
    const frames = grouped(rows);
    return {
      rows: subjects.map((s) => ({ ...s.shown, frames: (frames.get(s.key) ?? []).map(frameModel) })),
      nextCursor,
    };
  }

  async #subjects(
    caller: Caller,
    by: ConsumptionScope,
    request: ConsumptionRequest,
    to: Date,
    limit: number,
  ): Promise<{ subjects: Subject[]; nextCursor: string }> {
    switch (by) {
      case 'project':
        checkNotOneBranch(caller);
        return this.#projects(caller, request, limit);
      case 'branch':
        return this.#branches(caller, request, to, limit);
      case 'agent': {
        const agentId = checkAgentId(request.agentId || caller.agentId);
        if (caller.scope !== 'fleet' && agentId !== caller.agentId) throw agentNotFound(agentId);
        checkWhole(caller);
        return { subjects: [{ key: agentId, shown: { ...NOBODY, agentId } }], nextCursor: '' };
      }
      case 'task': {
        if (request.taskId === '')
          throw new CoppiceError('Invalid', 'no-task', 'no task is named', { remedy: 'Name a task_id.' });
        checkWhole(caller);
        const taskId = checkTaskId(request.taskId);
        return { subjects: [{ key: taskId, shown: { ...NOBODY, taskId } }], nextCursor: '' };
      }
    }
  }

  async #projects(
    caller: Caller,
    request: ConsumptionRequest,
    limit: number,
  ): Promise<{ subjects: Subject[]; nextCursor: string }> {
    if (request.projectIds.length > 0 || caller.projectId !== undefined) {
      const ids = await this.#visible(caller, request.projectIds);
      return {
        subjects: ids.map((id) => ({ key: id, shown: { ...NOBODY, projectId: id } })),
        nextCursor: '',
      };
    }
    const after = decodeCursor(request.cursor, 'number');
    const rows = await listProjects(this.#s.db, {
      limit: limit + 1,
      ...(caller.agentFilter === undefined ? {} : { agentId: caller.agentFilter }),
      ...(after ? { after } : {}),
    });
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page.at(-1) : undefined;
    return {
      subjects: page.map((r) => ({ key: r.id, shown: { ...NOBODY, projectId: r.id } })),
      nextCursor: last ? encodeCursor({ key: last.created_at, id: last.id }) : '',
    };
  }

  async #branches(
    caller: Caller,
    request: ConsumptionRequest,
    to: Date,
    limit: number,
  ): Promise<{ subjects: Subject[]; nextCursor: string }> {
    const projectIds = await this.#visible(caller, request.projectIds);
    if (projectIds.length === 0)
      throw new CoppiceError('Invalid', 'no-project', 'no project is named', { remedy: 'Name project_ids.' });
    const after = decodeCursor(request.cursor, 'string');
    const asked = caller.branchId === undefined ? request.branchIds : [caller.branchId];
    const found = await listConsumingBranches(this.#s.db, {
      projectIds,
      agentId: caller.agentFilter,
      to,
      afterId: after?.key ?? '',
      only: asked.length === 0 ? undefined : asked.flatMap((id) => parseBranchId(id) ?? []),
      limit: limit + 1,
    });
    const page = found.slice(0, limit);
    const last = found.length > limit ? page.at(-1) : undefined;
    return {
      subjects: page.map((b) => ({
        key: b.branchId,
        shown: { ...NOBODY, branchId: b.branchId, projectId: b.projectId },
      })),
      nextCursor: last ? encodeCursor({ key: last.branchId, id: last.branchId }) : '',
    };
  }

  /** The named projects, all of which the caller must be able to see. */
  async #visible(caller: Caller, asked: readonly string[]): Promise<ProjectId[]> {
    if (asked.length > MAX_PROJECTS)
      throw new CoppiceError('Invalid', 'too-many-projects', `${asked.length} projects are named`, {
        remedy: `Name up to ${MAX_PROJECTS} at a time.`,
      });
    const ids = asked.length === 0 && caller.projectId !== undefined ? [caller.projectId] : asked;
    const visible: ProjectId[] = [];
    for (const text of new Set(ids)) {
      const id = parseProjectId(text);
      if (!id) throw projectNotFound(text);
      checkScope(caller, id);
      if (!(await findProject(this.#s.db, id, caller.agentFilter))) throw projectNotFound(text);
      visible.push(id);
    }
    return visible;
  }

  #projectId(text: string): ProjectId | undefined {
    if (text === '') return undefined;
    const id = parseProjectId(text);
    if (!id) throw projectNotFound(text);
    return id;
  }
}

/** A key of one project or branch does not see what its agent used elsewhere. */
function checkWhole(caller: Caller): void {
  if (caller.projectId === undefined) return;
  throw new CoppiceError('Forbidden', 'key-scope', 'this API key sees the use of its project only', {
    remedy: 'Ask by project, or use a key of the agent.',
  });
}

/** Nor does a key of one branch see what the others of its project used. */
function checkNotOneBranch(caller: Caller): void {
  if (caller.branchId === undefined) return;
  throw new CoppiceError('Forbidden', 'key-scope', 'this API key sees the use of its branch only', {
    remedy: 'Ask by branch, or use a key of the project.',
  });
}

function scopeOf(text: string): ConsumptionScope {
  if (text === 'project' || text === 'branch' || text === 'agent' || text === 'task') return text;
  throw new CoppiceError('Invalid', 'bad-scope', `by is ${JSON.stringify(text.slice(0, 40))}`, {
    remedy: 'Use project, branch, agent or task.',
  });
}

function grouped(rows: readonly ConsumptionRow[]): Map<string, ConsumptionRow[]> {
  const groups = new Map<string, ConsumptionRow[]>();
  for (const row of rows) {
    const group = groups.get(row.key);
    if (group) group.push(row);
    else groups.set(row.key, [row]);
  }
  return groups;
}

function frameModel(r: ConsumptionRow): ConsumptionOf['frames'][number] {
  return { startUnixMs: r.start, endUnixMs: r.stop, consumption: consumptionModel(r) };
}

/** Totals as the contract tells them; byte hours where they are known. */
export function consumptionModel(
  r: Omit<ConsumptionRow, 'key' | 'start' | 'stop' | 'logical_byte_hours' | 'own_byte_hours'> &
    Partial<Pick<ConsumptionRow, 'logical_byte_hours' | 'own_byte_hours'>>,
): Consumption {
  return {
    computeUnitSeconds: r.compute_unit_seconds,
    activeSeconds: r.active_seconds,
    writtenBytes: r.written_bytes,
    transferredBytes: r.transferred_bytes,
    logicalBytes: r.logical_bytes,
    ownBytes: r.own_bytes,
    logicalByteHours: r.logical_byte_hours ?? 0,
    ownByteHours: r.own_byte_hours ?? 0,
  };
}

function auditModel(r: AuditRow): AuditEntryModel {
  return {
    id: r.id,
    atUnixMs: r.at,
    agentId: r.agent_id,
    taskId: r.task_id ?? '',
    action: r.action,
    projectId: r.project_id ?? '',
    branchId: r.branch_id ?? '',
    endpointId: r.endpoint_id ?? '',
    detail: r.detail === null ? '' : JSON.stringify(r.detail),
    keyId: r.key_id ?? 0,
  };
}
