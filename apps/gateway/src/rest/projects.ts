import { CoppiceError } from '@coppice/service-kit';
import { route } from './route';
import * as schemas from './schemas';
import { branchPartsJson, projectJson, projectListItemJson, REGION } from './shapes';

/** Refuses what would silently not happen. */
export function refuseUnsupported(values: Readonly<Record<string, unknown>>): void {
  for (const [field, value] of Object.entries(values)) {
    const empty =
      value === undefined ||
      value === null ||
      value === false ||
      (typeof value === 'object' && isEmptyDeep(value));
    if (!empty)
      throw new CoppiceError('Invalid', 'unsupported-setting', `${field} is not offered here`, {
        remedy: 'Leave it out.',
      });
  }
}

/** Whether nothing is set in it: clients send settings objects full of defaults. */
function isEmptyDeep(value: object): boolean {
  return Object.values(value).every(
    (v) =>
      v === undefined ||
      v === null ||
      v === false ||
      v === 0 ||
      (typeof v === 'object' && isEmptyDeep(v as object)),
  );
}

export const projectRoutes = [
  route({
    method: 'POST',
    path: '/projects',
    operationId: 'createProject',
    summary: 'Creates a project with its first branch, an endpoint, a role and a database',
    body: { schema: schemas.createProjectBody, required: true },
    status: 201,
    response: schemas.responses.projectCreated,
    handle: async ({ body: { project: p }, control, call }) => {
      if (p.region_id !== undefined && p.region_id !== REGION) {
        throw new CoppiceError(
          'Invalid',
          'unsupported-region',
          `region ${JSON.stringify(p.region_id)} is not offered`,
          { remedy: 'Leave region_id out.' },
        );
      }
      refuseUnsupported({
        'project.settings': p.settings,
        'project.branch.annotations': p.branch?.annotations,
      });
      refuseUnsupported({
        'default_endpoint_settings.pg_settings': p.default_endpoint_settings?.pg_settings,
        'default_endpoint_settings.pgbouncer_settings': p.default_endpoint_settings?.pgbouncer_settings,
      });
      const made = await control.createProject(
        {
          name: p.name ?? '',
          pgVersion: p.pg_version ?? 0,
          branchName: p.branch?.name ?? '',
          roleName: p.branch?.role_name ?? '',
          databaseName: p.branch?.database_name ?? '',
          suspendTimeoutSeconds: p.default_endpoint_settings?.suspend_timeout_seconds ?? 0,
          historyRetentionSeconds: p.history_retention_seconds ?? 0,
          minComputeUnits:
            p.default_endpoint_settings?.autoscaling_limit_min_cu ?? p.autoscaling_limit_min_cu ?? 0,
          maxComputeUnits:
            p.default_endpoint_settings?.autoscaling_limit_max_cu ?? p.autoscaling_limit_max_cu ?? 0,
        },
        call,
      );
      return { project: projectJson(made.project), ...branchPartsJson(made) };
    },
  }),
  route({
    method: 'GET',
    path: '/projects',
    operationId: 'listProjects',
    summary: 'Lists projects, newest first',
    query: schemas.projectsQuery,
    status: 200,
    response: schemas.responses.projects,
    handle: async ({ query, control, call }) => {
      refuseUnsupported({ recoverable: query.recoverable === 'true' });
      const { projects, nextCursor } = await control.listProjects(
        { cursor: query.cursor ?? '', limit: query.limit ?? 0, search: query.search ?? '' },
        call,
      );
      return {
        projects: projects.map(projectListItemJson),
        pagination: nextCursor === '' ? undefined : { cursor: nextCursor },
        applications: {},
        integrations: {},
      };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}',
    operationId: 'getProject',
    summary: 'One project',
    params: schemas.projectPath,
    status: 200,
    response: schemas.responses.project,
    handle: async ({ path, control, call }) => ({
      project: projectJson(await control.getProject({ projectId: path.project_id }, call)),
    }),
  }),
  route({
    method: 'DELETE',
    path: '/projects/{project_id}',
    operationId: 'deleteProject',
    summary: 'Deletes a project with all its branches',
    params: schemas.projectPath,
    status: 200,
    response: schemas.responses.project,
    handle: async ({ path, control, call }) => ({
      project: projectJson((await control.deleteProject({ projectId: path.project_id }, call)).project),
    }),
  }),
];
