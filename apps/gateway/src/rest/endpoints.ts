import { type RestRequest, route } from './route';
import * as schemas from './schemas/endpoints';
import { branchPath, projectPath } from './schemas/primitives';
import { endpointActivityJson, endpointChangedJson, endpointJson } from './shapes/endpoints';
import { checkPlace, refuseComputeSettings, refuseUnsupported } from './unsupported';

interface Unoffered {
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  readonly pooler_enabled?: boolean | undefined;
  readonly passwordless_access?: boolean | undefined;
}

function refuse({ settings, pooler_enabled, passwordless_access }: Unoffered): void {
  refuseComputeSettings('endpoint.settings', settings);
  refuseUnsupported({
    'endpoint.pooler_enabled': pooler_enabled,
    'endpoint.passwordless_access': passwordless_access,
  });
}

type OnEndpoint = RestRequest<
  { readonly project_id: string; readonly endpoint_id: string },
  unknown,
  unknown
>;
const refOf = ({ path }: OnEndpoint) => ({ projectId: path.project_id, endpointId: path.endpoint_id });

export const endpointRoutes = [
  route({
    method: 'POST',
    path: '/projects/{project_id}/endpoints',
    operationId: 'createProjectEndpoint',
    summary: 'Gives a branch an endpoint: one that reads and writes, or more that only read',
    params: projectPath,
    body: { schema: schemas.createEndpointBody, required: true },
    status: 201,
    response: schemas.endpointOperations,
    handle: async ({ path, body: { endpoint: e }, control, call }) => {
      checkPlace({ region: e.region_id });
      refuse(e);
      const made = await control.createEndpoint(
        {
          projectId: path.project_id,
          branchId: e.branch_id,
          endpoint: {
            type: e.type,
            suspendTimeoutSeconds: e.suspend_timeout_seconds ?? 0,
            minComputeUnits: e.autoscaling_limit_min_cu ?? 0,
            maxComputeUnits: e.autoscaling_limit_max_cu ?? 0,
          },
          name: e.name ?? '',
          disabled: e.disabled ?? false,
        },
        call,
      );
      return endpointChangedJson(made);
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/endpoints',
    operationId: 'listProjectEndpoints',
    summary: 'Lists the endpoints of a project',
    params: projectPath,
    status: 200,
    response: schemas.endpointsResponse,
    handle: async ({ path, control, call }) => ({
      endpoints: (await control.listEndpoints({ projectId: path.project_id }, call)).endpoints.map(
        endpointJson,
      ),
    }),
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}/endpoints',
    operationId: 'listProjectBranchEndpoints',
    summary: 'Lists the endpoints of a branch',
    params: branchPath,
    status: 200,
    response: schemas.endpointsResponse,
    handle: async ({ path, control, call }) => {
      const branch = await control.getBranch({ projectId: path.project_id, branchId: path.branch_id }, call);
      const { endpoints } = await control.listEndpoints({ projectId: path.project_id }, call);
      return { endpoints: endpoints.filter((e) => e.branchId === branch.id).map(endpointJson) };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/endpoints/{endpoint_id}',
    operationId: 'getProjectEndpoint',
    summary: 'One endpoint',
    params: schemas.endpointPath,
    status: 200,
    response: schemas.endpointResponse,
    handle: async (request) => ({
      endpoint: endpointJson(await request.control.getEndpoint(refOf(request), request.call)),
    }),
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/endpoints/{endpoint_id}/activity',
    operationId: 'getProjectEndpointActivity',
    summary: 'What keeps an endpoint awake, or kept it so when it was last used',
    params: schemas.endpointPath,
    status: 200,
    response: schemas.endpointActivityResponse,
    handle: async (request) => ({
      activity: endpointActivityJson(await request.control.getEndpointActivity(refOf(request), request.call)),
    }),
  }),
  route({
    method: 'PATCH',
    path: '/projects/{project_id}/endpoints/{endpoint_id}',
    operationId: 'updateProjectEndpoint',
    summary: 'Changes the size, the idle time, the name or the branch of an endpoint, or disables it',
    params: schemas.endpointPath,
    body: { schema: schemas.updateEndpointBody, required: true },
    status: 200,
    response: schemas.endpointOperations,
    handle: async (request) => {
      const { endpoint: e } = request.body;
      refuse(e);
      const changed = await request.control.updateEndpoint(
        {
          ...refOf(request),
          suspendTimeoutSeconds: e.suspend_timeout_seconds,
          minComputeUnits: e.autoscaling_limit_min_cu,
          maxComputeUnits: e.autoscaling_limit_max_cu,
          disabled: e.disabled,
          name: e.name,
          branchId: e.branch_id,
        },
        request.call,
      );
      return endpointChangedJson(changed);
    },
  }),
  route({
    method: 'DELETE',
    path: '/projects/{project_id}/endpoints/{endpoint_id}',
    operationId: 'deleteProjectEndpoint',
    summary: 'Deletes an endpoint; the branch stays',
    params: schemas.endpointPath,
    status: 200,
    gone: 'endpoint-not-found',
    response: schemas.endpointOperations,
    handle: async (request) =>
      endpointChangedJson(await request.control.deleteEndpoint(refOf(request), request.call)),
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/endpoints/{endpoint_id}/start',
    operationId: 'startProjectEndpoint',
    summary: 'Starts the compute of an endpoint; answers when it accepts connections',
    params: schemas.endpointPath,
    status: 200,
    response: schemas.endpointOperations,
    handle: async (request) =>
      endpointChangedJson(await request.control.startEndpoint(refOf(request), request.call)),
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/endpoints/{endpoint_id}/suspend',
    operationId: 'suspendProjectEndpoint',
    summary: 'Suspends the compute of an endpoint; answers when all it wrote is stored',
    params: schemas.endpointPath,
    status: 200,
    response: schemas.endpointOperations,
    handle: async (request) =>
      endpointChangedJson(await request.control.suspendEndpoint(refOf(request), request.call)),
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/endpoints/{endpoint_id}/restart',
    operationId: 'restartProjectEndpoint',
    summary: 'Suspends the compute of an endpoint and starts it again',
    params: schemas.endpointPath,
    status: 200,
    response: schemas.endpointOperations,
    handle: async (request) =>
      endpointChangedJson(await request.control.restartEndpoint(refOf(request), request.call)),
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/connection_uri',
    operationId: 'getConnectionURI',
    summary: 'A connection string for a role and database of a branch',
    params: projectPath,
    query: schemas.connectionUriQuery,
    status: 200,
    response: schemas.connectionUri,
    handle: async ({ path, query, control, call }) => {
      const { uri } = await control.getConnectionUri(
        {
          projectId: path.project_id,
          branchId: query.branch_id ?? '',
          endpointId: query.endpoint_id ?? '',
          databaseName: query.database_name,
          roleName: query.role_name,
          pooled: query.pooled ?? false,
        },
        call,
      );
      return { uri };
    },
  }),
];
