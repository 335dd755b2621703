import {
  type ComputeRow,
  type Db,
  findCompute,
  findEndpoint,
  findLiveComputes,
  listEndpoints,
  recordOperations,
  recordAudit,
  type EndpointRow,
} from '@coppice/catalog';
import type { EndpointChanged, EndpointModel } from '@coppice/contracts';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import { parseEndpointId } from '@coppice/vocabulary';
import { branchNotFound, type Caller, endpointNotFound } from '../access/authorize';
import type { ProxyAddress } from '../credentials/connection-uri';
import { endpointModel, operationModel } from '../models';
import { finishedOperation } from '../operations/finished-operation';
import type { Identifiers } from '../naming/identifiers';
import type { Projects } from '../projects/projects';
import type { SuspendCompute } from './suspend-compute';
import type { WakeCompute } from './wake-compute';

export interface EndpointServices {
  readonly db: Db;
  readonly projects: Projects;
  readonly wake: WakeCompute;
  readonly suspend: SuspendCompute;
  readonly identifiers: Identifiers;
  readonly proxy: ProxyAddress;
  readonly clock: Clock;
}

interface EndpointRef {
  readonly projectId: string;
  readonly endpointId: string;
}

/** Lists endpoints and starts and suspends their computes on request. */
export class Endpoints {
  readonly #s: EndpointServices;

  constructor(services: EndpointServices) {
    this.#s = services;
  }

  async list(caller: Caller, request: { projectId: string }): Promise<{ endpoints: EndpointModel[] }> {
    const project = await this.#s.projects.find(caller, request.projectId);
    const rows = await listEndpoints(this.#s.db, project.id, caller.branchId);
    return { endpoints: rows.map((r) => endpointModel(r, this.#s.proxy)) };
  }

  async get(caller: Caller, request: EndpointRef): Promise<EndpointModel> {
    return endpointModel(await this.#find(caller, request), this.#s.proxy);
  }

  async start(caller: Caller, request: EndpointRef): Promise<EndpointChanged> {
    const row = await this.#find(caller, request);
    return this.#change(caller, row, 'start_compute', async () => {
      await this.#s.wake.wake(row.id, caller.signal);
    });
  }

  async suspend(caller: Caller, request: EndpointRef): Promise<EndpointChanged> {
    const row = await this.#find(caller, request);
    return this.#change(caller, row, 'suspend_compute', async () => {
      const [compute] = (await findLiveComputes(this.#s.db, { branchId: row.branch_id })).filter(
        (c) => c.endpoint_id === row.id,
      );
      if (compute) await this.#suspend(compute);
    });
  }

  async #suspend(compute: ComputeRow): Promise<void> {
    const { db, suspend } = this.#s;
    if (compute.state === 'stopping') return suspend.finish(compute);
    if (await suspend.suspend(compute)) return;
    const now = await findCompute(db, compute.id);
    if (now?.state === 'stopping') return suspend.finish(now);
    if (now?.state === 'starting')
      throw new CoppiceError('Locked', 'compute-starting', `endpoint ${compute.endpoint_id} is starting`, {
        remedy: 'Suspend it when it has started.',
      });
  }

  /** Runs an action and answers with the endpoint as it is then and a finished operation. */
  async #change(
    caller: Caller,
    row: EndpointRow,
    action: string,
    run: () => Promise<void>,
  ): Promise<EndpointChanged> {
    const { db, clock, identifiers, proxy } = this.#s;
    const began = clock.now();
    await run();
    const now = clock.now();
    const operation = finishedOperation({
      id: identifiers.operation(),
      action,
      projectId: row.project_id,
      branchId: row.branch_id,
      endpointId: row.id,
      beganAt: began,
      endedAt: now,
    });
    await recordOperations(db, [operation]);
    await recordAudit(db, {
      agentId: caller.agentId,
      taskId: caller.taskId,
      action: action.replace('_', '-'),
      projectId: row.project_id,
      branchId: row.branch_id,
      endpointId: row.id,
      now: new Date(now),
    });
    const changed = (await findEndpoint(db, row.project_id, row.id)) ?? row;
    return { endpoint: endpointModel(changed, proxy), operations: [operationModel(operation)] };
  }

  async #find(caller: Caller, request: EndpointRef): Promise<EndpointRow> {
    const project = await this.#s.projects.find(caller, request.projectId);
    const id = parseEndpointId(request.endpointId);
    const row = id && (await findEndpoint(this.#s.db, project.id, id));
    if (!row) throw endpointNotFound(request.endpointId);
    if (caller.branchId !== undefined && caller.branchId !== row.branch_id)
      throw branchNotFound(row.branch_id);
    return row;
  }
}
