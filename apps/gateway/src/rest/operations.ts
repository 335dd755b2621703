import { route } from './route';
import * as schemas from './schemas';
import { operationJson } from './shapes';

export const operationRoutes = [
  route({
    method: 'GET',
    path: '/projects/{project_id}/operations',
    operationId: 'listProjectOperations',
    summary: 'Lists the operations of a project, newest first',
    params: schemas.projectPath,
    query: schemas.operationsQuery,
    status: 200,
    response: schemas.responses.operations,
    handle: async ({ path, query, control, call }) => {
      const { operations, nextCursor } = await control.listOperations(
        { projectId: path.project_id, cursor: query.cursor ?? '', limit: query.limit ?? 0 },
        call,
      );
      return {
        operations: operations.map(operationJson),
        pagination: nextCursor === '' ? undefined : { cursor: nextCursor },
      };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/operations/{operation_id}',
    operationId: 'getProjectOperation',
    summary: 'One operation',
    params: schemas.operationPath,
    status: 200,
    response: schemas.responses.operation,
    handle: async ({ path, control, call }) => ({
      operation: operationJson(
        await control.getOperation({ projectId: path.project_id, operationId: path.operation_id }, call),
      ),
    }),
  }),
];
