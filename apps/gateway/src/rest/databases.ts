import { type RestRequest, route } from './route';
import { branchPath } from './schemas/primitives';
import * as schemas from './schemas/roles-and-databases';
import { databaseChangedJson, databaseJson } from './shapes/roles-and-databases';

interface DatabasePath {
  readonly project_id: string;
  readonly branch_id: string;
  readonly database_name: string;
}
const refOf = ({ path }: RestRequest<DatabasePath, unknown, unknown>) => ({
  projectId: path.project_id,
  branchId: path.branch_id,
  databaseName: path.database_name,
});

export const databaseRoutes = [
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/databases',
    operationId: 'createProjectBranchDatabase',
    summary: 'Makes a database in Postgres',
    params: branchPath,
    body: { schema: schemas.createDatabaseBody, required: true },
    status: 201,
    response: schemas.databaseOperations,
    handle: async ({ path, body: { database }, control, call }) =>
      databaseChangedJson(
        await control.createDatabase(
          {
            projectId: path.project_id,
            branchId: path.branch_id,
            databaseName: database.name,
            ownerName: database.owner_name,
          },
          call,
        ),
      ),
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}/databases',
    operationId: 'listProjectBranchDatabases',
    summary: 'Lists the databases of a branch',
    params: branchPath,
    status: 200,
    response: schemas.databasesResponse,
    handle: async ({ path, control, call }) => {
      const { databases } = await control.listDatabases(
        { projectId: path.project_id, branchId: path.branch_id },
        call,
      );
      return { databases: databases.map(databaseJson) };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}/databases/{database_name}',
    operationId: 'getProjectBranchDatabase',
    summary: 'One database',
    params: schemas.databasePath,
    status: 200,
    response: schemas.databaseResponse,
    handle: async (request) => ({
      database: databaseJson(await request.control.getDatabase(refOf(request), request.call)),
    }),
  }),
  route({
    method: 'PATCH',
    path: '/projects/{project_id}/branches/{branch_id}/databases/{database_name}',
    operationId: 'updateProjectBranchDatabase',
    summary: 'Renames a database or gives it another owner',
    params: schemas.databasePath,
    body: { schema: schemas.updateDatabaseBody, required: true },
    status: 200,
    response: schemas.databaseOperations,
    handle: async (request) =>
      databaseChangedJson(
        await request.control.updateDatabase(
          {
            ...refOf(request),
            newName: request.body.database.name ?? '',
            newOwnerName: request.body.database.owner_name ?? '',
          },
          request.call,
        ),
      ),
  }),
  route({
    method: 'DELETE',
    path: '/projects/{project_id}/branches/{branch_id}/databases/{database_name}',
    operationId: 'deleteProjectBranchDatabase',
    summary: 'Drops a database',
    params: schemas.databasePath,
    status: 200,
    gone: 'database-not-found',
    response: schemas.databaseOperations,
    handle: async (request) =>
      databaseChangedJson(await request.control.deleteDatabase(refOf(request), request.call)),
  }),
];
