import { nextPage, route } from './route';
import * as schemas from './schemas/operations';
import { projectPath } from './schemas/primitives';
import { operationJson } from './shapes/operations';

export const operationRoutes = [
  route({
    method: 'GET',
    path: '/projects/{project_id}/operations',
    operationId: 'listProjectOperations',
    summary: 'Lists the operations of a project, newest first',
    params: projectPath,
    query: schemas.operationsQuery,
    status: 200,
    response: schemas.operationsPage,
    handle: async ({ path, query, control, call }) => {
      const { operations, nextCursor } = await control.listOperations(
        { projectId: path.project_id, cursor: query.cursor ?? '', limit: query.limit ?? 0 },
        call,
      );
      return { operations: operations.map(operationJson), pagination: nextPage(nextCursor) };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/operations/{operation_id}',
    operationId: 'getProjectOperation',
    summary: 'One operation',
    params: schemas.operationPath,
    status: 200,
    response: schemas.operationResponse,
    handle: async ({ path, control, call }) => ({
      operation: operationJson(
        await control.getOperation({ projectId: path.project_id, operationId: path.operation_id }, call),
      ),
    }),
  }),
];
