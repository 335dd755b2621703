import { route } from './route';
import * as schemas from './schemas';
import { endpointJson, operationJson } from './shapes';

export const endpointRoutes = [
  route({
    method: 'GET',
    path: '/projects/{project_id}/endpoints',
    operationId: 'listProjectEndpoints',
    summary: 'Lists the endpoints of a project',
    params: schemas.projectPath,
    status: 200,
    response: schemas.responses.endpoints,
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
    params: schemas.branchPath,
    status: 200,
    response: schemas.responses.endpoints,
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
    response: schemas.responses.endpoint,
    handle: async ({ path, control, call }) => ({
      endpoint: endpointJson(
        await control.getEndpoint({ projectId: path.project_id, endpointId: path.endpoint_id }, call),
      ),
    }),
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/endpoints/{endpoint_id}/start',
    operationId: 'startProjectEndpoint',
    summary: 'Starts the compute of an endpoint; answers when it accepts connections',
    params: schemas.endpointPath,
    status: 200,
    response: schemas.responses.endpointOperations,
    handle: async ({ path, control, call }) => {
      const { endpoint, operations } = await control.startEndpoint(
        { projectId: path.project_id, endpointId: path.endpoint_id },
        call,
      );
      return { endpoint: endpointJson(endpoint), operations: operations.map(operationJson) };
    },
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/endpoints/{endpoint_id}/suspend',
    operationId: 'suspendProjectEndpoint',
    summary: 'Suspends the compute of an endpoint; answers when all it wrote is stored',
    params: schemas.endpointPath,
    status: 200,
    response: schemas.responses.endpointOperations,
    handle: async ({ path, control, call }) => {
      const { endpoint, operations } = await control.suspendEndpoint(
        { projectId: path.project_id, endpointId: path.endpoint_id },
        call,
      );
      return { endpoint: endpointJson(endpoint), operations: operations.map(operationJson) };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/connection_uri',
    operationId: 'getConnectionURI',
    summary: 'A connection string for a role and database of a branch',
    params: schemas.projectPath,
    query: schemas.connectionUriQuery,
    status: 200,
    response: schemas.responses.connectionUri,
    handle: async ({ path, query, control, call }) => {
      const { uri } = await control.getConnectionUri(
        {
          projectId: path.project_id,
          branchId: query.branch_id ?? '',
          endpointId: query.endpoint_id ?? '',
          databaseName: query.database_name,
          roleName: query.role_name,
          pooled: query.pooled === 'true',
        },
        call,
      );
      return { uri };
    },
  }),
];
