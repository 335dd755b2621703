import {
  type ComputeRow,
  type Db,
  findCompute,
  findEndpoint,
  findOperation,
  findLatestCompute,
  findLiveComputes,
  listEndpoints,
  type OperationRow,
  recordAudit,
  recordOperations,
  type EndpointRow,
} from '@coppice/catalog';
import type { EndpointActivity, EndpointChanged, EndpointModel, EndpointRef } from '@coppice/contracts';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import { parseEndpointId } from '@coppice/vocabulary';
import { type Caller, endpointNotFound } from '../access/authorize';
import type { ProxyAddress } from '../credentials/connection-uri';
import { endpointModel, operationModel } from '../models';
import { finishedOperation } from '../operations/finished-operation';
import type { Identifiers } from '../naming/identifiers';
import type { Projects } from '../projects/projects';
import { endpointActivity } from './endpoint-activity';
import type { SuspendCompute } from './suspend-compute';
import { startOperationId, type WakeCompute } from './wake-compute';

export interface EndpointServices {
  readonly db: Db;
  readonly projects: Projects;
  readonly wake: WakeCompute;
  readonly suspend: SuspendCompute;
  readonly identifiers: Identifiers;
  readonly proxy: ProxyAddress;
  readonly clock: Clock;
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
    return endpointModel(await this.find(caller, request), this.#s.proxy);
  }

  async activity(caller: Caller, request: EndpointRef): Promise<EndpointActivity> {
    const { id } = await this.find(caller, request);
    return endpointActivity(id, await findLatestCompute(this.#s.db, id));
  }

  /** Answers when the compute accepts connections. The operation is that of its start, if it had to be started. */
  async start(caller: Caller, request: EndpointRef): Promise<EndpointChanged> {
    const row = await this.find(caller, request);
    return this.#change(caller, row, 'start-compute', (began) => this.#start(caller, row, began));
  }

  async suspend(caller: Caller, request: EndpointRef): Promise<EndpointChanged> {
    const row = await this.find(caller, request);
    return this.#change(caller, row, 'suspend-compute', async (began) => [await this.#stop(row, began)]);
  }

  /** All sessions end; what is in the settings of the endpoint now is in effect afterwards. */
  async restart(caller: Caller, request: EndpointRef): Promise<EndpointChanged> {
    const row = await this.find(caller, request);
    return this.#change(caller, row, 'restart-compute', async (began) => [
      await this.#stop(row, began),
      ...(await this.#start(caller, row, began)),
    ]);
  }

  async #start(caller: Caller, row: EndpointRow, began: number): Promise<OperationRow[]> {
    const { db, wake } = this.#s;
    const compute = await wake.wake(row.id, caller.signal);
    if ((compute.running_at ?? 0) < began) return [];
    const operation = await findOperation(db, row.project_id, startOperationId(compute.id));
    return operation ? [operation] : [];
  }

  async #stop(row: EndpointRow, began: number): Promise<OperationRow> {
    const { db, clock, identifiers } = this.#s;
    const [compute] = (await findLiveComputes(db, { branchId: row.branch_id })).filter(
      (c) => c.endpoint_id === row.id,
    );
    if (compute) await this.#suspend(compute);
    const operation = finishedOperation({
      id: identifiers.operation(),
      action: 'suspend_compute',
      projectId: row.project_id,
      branchId: row.branch_id,
      endpointId: row.id,
      beganAt: began,
      endedAt: clock.now(),
    });
    await recordOperations(db, [operation]);
    return operation;
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

  /** Runs an action and answers with the endpoint as it is then. */
  async #change(
    caller: Caller,
    row: EndpointRow,
    action: string,
    run: (beganAt: number) => Promise<OperationRow[]>,
  ): Promise<EndpointChanged> {
    const { db, clock, proxy } = this.#s;
    const operations = await run(clock.now());
    await recordAudit(db, {
      ...caller.audit,
      action,
      projectId: row.project_id,
      branchId: row.branch_id,
      endpointId: row.id,
      now: new Date(clock.now()),
    });
    const changed = (await findEndpoint(db, row.project_id, row.id)) ?? row;
    return { endpoint: endpointModel(changed, proxy), operations: operations.map(operationModel) };
  }

  /** An endpoint that the caller may see. */
  async find(caller: Caller, request: EndpointRef): Promise<EndpointRow> {
    const project = await this.#s.projects.find(caller, request.projectId);
    const id = parseEndpointId(request.endpointId);
    const row = id && (await findEndpoint(this.#s.db, project.id, id));
    if (!row || (caller.branchId !== undefined && caller.branchId !== row.branch_id))
      throw endpointNotFound(request.endpointId);
    return row;
  }
}
