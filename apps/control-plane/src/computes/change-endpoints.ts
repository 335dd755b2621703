/**
 * Makes, changes and deletes endpoints. What must not run any more is `stopping` when the change is committed, so that no wake
 * takes it up again; it is ended after, by whoever comes to it.
 */
import {
  beginStopOfEndpoint,
  type CatalogTables,
  type ComputeRow,
  type Db,
  type EndpointRow,
  findBranch,
  findEndpoint,
  holdBranch,
  insertEndpoint,
  insertIdempotent,
  lockEndpoint,
  markEndpointDeleted,
  ONE_READ_WRITE,
  recordAudit,
  recordOperations,
  updateEndpoint,
  violatedIndex,
} from '@coppice/catalog';
import type {
  CallContext,
  CreateEndpointRequest,
  EndpointChanged,
  EndpointRef,
  UpdateEndpointRequest,
} from '@coppice/contracts';
import { type Clock, CoppiceError, failpoint, type Log } from '@coppice/service-kit';
import { type BranchId, type EndpointId, parseBranchId, type ProjectId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { branchNotFound, type Caller, checkScope, endpointNotFound } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import type { ProxyAddress } from '../credentials/connection-uri';
import { endpointModel, operationModel } from '../models';
import type { Identifiers } from '../naming/identifiers';
import { finishedOperation } from '../operations/finished-operation';
import type { Projects } from '../projects/projects';
import { planEndpoint, planEndpointUpdate } from './endpoint-changes';
import type { Endpoints } from './endpoints';
import { idleLimitSeconds } from './idle';
import type { ResizeCompute } from './resize-compute';
import type { SuspendCompute } from './suspend-compute';

export interface ChangeEndpointServices {
  readonly db: Kysely<CatalogTables>;
  readonly projects: Projects;
  readonly endpoints: Endpoints;
  readonly suspend: SuspendCompute;
  readonly resize: ResizeCompute;
  readonly identifiers: Identifiers;
  readonly proxy: ProxyAddress;
  readonly clock: Clock;
  readonly log: Log;
}

interface Done {
  readonly caller: Caller;
  readonly projectId: ProjectId;
  readonly branchId: BranchId;
  readonly endpointId: EndpointId;
  readonly action: string;
  readonly operation: string;
  readonly detail?: unknown;
  readonly now: Date;
}

export class ChangeEndpoints {
  readonly #s: ChangeEndpointServices;

  constructor(services: ChangeEndpointServices) {
    this.#s = services;
  }

  async create(
    caller: Caller,
    request: CreateEndpointRequest,
    context: CallContext,
  ): Promise<EndpointChanged> {
    const { db, projects, identifiers, clock } = this.#s;
    const project = await projects.find(caller, request.projectId);
    const branchId = await this.#branch(caller, project.id, request.branchId);
    const settings = planEndpoint(request, branchId);
    const endpointId = identifiers.endpoint();
    return idempotently<EndpointChanged>(db, caller, context, {
      method: 'create-endpoint',
      request,
      run: (entry) =>
        this.#commit(branchId, async (tx) => {
          const now = new Date(clock.now());
          await this.#hold(tx, branchId);
          const row = { id: endpointId, type: 'read_write' as const, ...settings };
          await insertEndpoint(tx, project.id, row, now);
          const done = { caller, projectId: project.id, branchId, endpointId, now };
          const changed = await this.#record(tx, {
            ...done,
            action: 'create-endpoint',
            operation: 'create_compute',
          });
          if (entry) await insertIdempotent(tx, caller.agentId, entry(changed), now);
          return changed;
        }),
      reveal: async (kept) => kept,
    });
  }

  async update(caller: Caller, request: UpdateEndpointRequest): Promise<EndpointChanged> {
    const { projects, clock } = this.#s;
    const project = await projects.find(caller, request.projectId);
    const found = await this.#s.endpoints.find(caller, request);
    const branchId =
      request.branchId === undefined
        ? found.branch_id
        : await this.#branch(caller, project.id, request.branchId);
    let stopping: ComputeRow[] = [];
    let bounds: { readonly minUnits: number; readonly maxUnits: number } | undefined;
    const changed = await this.#commit(branchId, async (tx) => {
      const now = new Date(clock.now());
      await this.#hold(tx, branchId);
      const row = await lockEndpoint(tx, project.id, found.id);
      if (!row || !mayHave(caller, row.branch_id)) throw endpointNotFound(found.id);
      // It may have been moved since it was looked at; a request that names no branch leaves it there.
      const to = request.branchId === undefined ? row.branch_id : branchId;
      const { settings, stops } = planEndpointUpdate(settingsOf(row), request, to);
      const limit = idleLimitSeconds(settings.suspendTimeoutSeconds, project.suspend_timeout_seconds);
      await updateEndpoint(tx, row.id, settings, { idleLimitSeconds: limit, now });
      if (stops) stopping = await beginStopOfEndpoint(tx, row.id);
      const { minComputeUnits: minUnits, maxComputeUnits: maxUnits } = settings;
      const isResized = minUnits !== row.min_compute_units || maxUnits !== row.max_compute_units;
      bounds = isResized ? { minUnits, maxUnits } : undefined;
      const detail = { from: row.branch_id, ...settings };
      const done = { caller, projectId: project.id, branchId: to, endpointId: row.id, detail, now };
      return this.#record(tx, { ...done, action: 'update-endpoint', operation: 'apply_config' });
    });
    await this.#end(stopping);
    if (bounds) await this.#s.resize.ofEndpoint(found.id, bounds);
    return stopping.length === 0 ? changed : this.#asItIs(project.id, found, changed);
  }

  /** The branch stays, and can be given another. */
  async delete(caller: Caller, request: EndpointRef): Promise<EndpointChanged> {
    const found = await this.#s.endpoints.find(caller, request);
    const { project_id: projectId, branch_id: branchId } = found;
    let stopping: ComputeRow[] = [];
    const changed = await this.#commit(branchId, async (tx) => {
      const now = new Date(this.#s.clock.now());
      const row = await lockEndpoint(tx, projectId, found.id);
      if (!row || !mayHave(caller, row.branch_id)) throw endpointNotFound(found.id);
      stopping = await beginStopOfEndpoint(tx, row.id);
      const done = { caller, projectId, branchId: row.branch_id, endpointId: row.id, now };
      const answer = await this.#record(tx, {
        ...done,
        action: 'delete-endpoint',
        operation: 'suspend_compute',
      });
      await markEndpointDeleted(tx, row.id, now);
      return answer;
    });
    await this.#end(stopping);
    return { ...changed, endpoint: { ...changed.endpoint, state: 'idle' } };
  }

  async #branch(caller: Caller, projectId: ProjectId, text: string): Promise<BranchId> {
    checkScope(caller, projectId, text);
    const id = parseBranchId(text);
    if (!id || !(await findBranch(this.#s.db, projectId, id))) throw branchNotFound(text);
    return id;
  }

  async #hold(tx: Db, branchId: BranchId): Promise<void> {
    if (!(await holdBranch(tx, branchId))) throw branchNotFound(branchId);
  }

  async #commit<T>(branchId: BranchId, work: (tx: Db) => Promise<T>): Promise<T> {
    try {
      return await this.#s.db.transaction().execute(work);
    } catch (error) {
      if (violatedIndex(error) !== ONE_READ_WRITE) throw error;
      throw new CoppiceError('Conflict', 'endpoint-exists', `branch ${branchId} has a read_write endpoint`, {
        remedy: 'Use that one, or delete it first.',
        cause: error,
      });
    }
  }

  async #record(tx: Db, d: Done): Promise<EndpointChanged> {
    const { identifiers, proxy } = this.#s;
    const at = d.now.getTime();
    const of = { projectId: d.projectId, branchId: d.branchId, endpointId: d.endpointId };
    const operation = finishedOperation({
      id: identifiers.operation(),
      action: d.operation,
      ...of,
      beganAt: at,
      endedAt: at,
    });
    await recordOperations(tx, [operation]);
    await recordAudit(tx, { ...d.caller.audit, action: d.action, ...of, detail: d.detail, now: d.now });
    const row = await findEndpoint(tx, d.projectId, d.endpointId);
    if (!row) throw endpointNotFound(d.endpointId);
    return { endpoint: endpointModel(row, proxy), operations: [operationModel(operation)] };
  }

  async #asItIs(projectId: ProjectId, row: EndpointRow, changed: EndpointChanged): Promise<EndpointChanged> {
    const now = await findEndpoint(this.#s.db, projectId, row.id);
    return now ? { ...changed, endpoint: endpointModel(now, this.#s.proxy) } : changed;
  }

  /** Ends what the change stopped. It is committed: what cannot be ended now is ended by whoever looks for left-over stops. */
  async #end(stopping: readonly ComputeRow[]): Promise<void> {
    failpoint('endpoint-before-ending-computes');
    for (const row of stopping)
      await this.#s.suspend.finish(row).catch((error: unknown) => {
        this.#s.log.warn(
          { err: error, computeId: row.id },
          'compute of a changed endpoint is still stopping',
        );
      });
  }
}

/** Asked again of what is locked: an endpoint may have been moved out of a key's reach. */
function mayHave(caller: Caller, branchId: BranchId): boolean {
  return caller.branchId === undefined || caller.branchId === branchId;
}

function settingsOf(row: EndpointRow | NonNullable<Awaited<ReturnType<typeof lockEndpoint>>>) {
  return {
    branchId: row.branch_id,
    name: row.name,
    disabled: row.disabled,
    suspendTimeoutSeconds: row.suspend_timeout_seconds,
    minComputeUnits: row.min_compute_units,
    maxComputeUnits: row.max_compute_units,
  };
}
