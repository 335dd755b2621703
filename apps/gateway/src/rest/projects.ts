import type { ProjectSettings } from '@coppice/contracts';
import { nextPage, route } from './route';
import { projectPath } from './schemas/primitives';
import * as schemas from './schemas/projects';
import { branchJson, branchPartsJson } from './shapes/branches';
import { operationJson } from './shapes/operations';
import { projectJson, projectListItemJson } from './shapes/projects';
import { checkPlace, refuseComputeSettings, refuseProjectSettings, refuseUnsupported } from './unsupported';

const NO_LIMITS: ProjectSettings = {
  quotaActiveSeconds: 0,
  quotaComputeSeconds: 0,
  quotaWrittenBytes: 0,
  quotaTransferredBytes: 0,
  quotaLogicalSizeBytes: 0,
};

/** The limits as they are to be: those that are not named stay. */
function limits(
  settings: schemas.SettingsBody | undefined,
  now: ProjectSettings = NO_LIMITS,
): ProjectSettings {
  const q = settings?.quota ?? {};
  const changed = (to: number | null | undefined, from: number): number =>
    to === undefined ? from : (to ?? 0);
  return {
    quotaActiveSeconds: changed(q.active_time_seconds, now.quotaActiveSeconds),
    quotaComputeSeconds: changed(q.compute_time_seconds, now.quotaComputeSeconds),
    quotaWrittenBytes: changed(q.written_data_bytes, now.quotaWrittenBytes),
    quotaTransferredBytes: changed(q.data_transfer_bytes, now.quotaTransferredBytes),
    quotaLogicalSizeBytes: changed(q.logical_size_bytes, now.quotaLogicalSizeBytes),
  };
}

export const projectRoutes = [
  route({
    method: 'POST',
    path: '/projects',
    operationId: 'createProject',
    summary: 'Creates a project with its first branch, an endpoint, a role and a database',
    body: { schema: schemas.createProjectBody, required: true },
    status: 201,
    response: schemas.projectCreated,
    handle: async ({ body: { project: p }, control, call, now }) => {
      checkPlace({ org: p.org_id, region: p.region_id });
      refuseProjectSettings(p.settings);
      const {
        autoscaling_limit_min_cu: min,
        autoscaling_limit_max_cu: max,
        suspend_timeout_seconds: suspend,
        ...rest
      } = p.default_endpoint_settings ?? {};
      refuseComputeSettings('project.default_endpoint_settings', rest);
      if (p.store_passwords === false) refuseUnsupported({ 'project.store_passwords: false': true });
      const made = await control.createProject(
        {
          name: p.name ?? '',
          pgVersion: p.pg_version ?? 0,
          branchName: p.branch?.name ?? '',
          roleName: p.branch?.role_name ?? '',
          databaseName: p.branch?.database_name ?? '',
          suspendTimeoutSeconds: suspend ?? 0,
          historyRetentionSeconds: p.history_retention_seconds ?? 0,
          minComputeUnits: min ?? p.autoscaling_limit_min_cu ?? 0,
          maxComputeUnits: max ?? p.autoscaling_limit_max_cu ?? 0,
          settings: p.settings?.quota ? limits(p.settings) : undefined,
          agentId: p.agent_id ?? '',
          annotations: p.branch?.annotations ?? {},
        },
        call,
      );
      return { project: projectJson(made.project, now), ...branchPartsJson(made) };
    },
  }),
  route({
    method: 'GET',
    path: '/projects',
    operationId: 'listProjects',
    summary: 'Lists projects, newest first',
    query: schemas.projectsQuery,
    status: 200,
    response: schemas.projectsResponse,
    handle: async ({ query, control, call, now }) => {
      checkPlace({ org: query.org_id });
      const { projects, nextCursor } = await control.listProjects(
        {
          cursor: query.cursor ?? '',
          limit: query.limit ?? 0,
          search: query.search ?? '',
          deleted: query.recoverable ?? false,
        },
        call,
      );
      return {
        projects: projects.map((p) => projectListItemJson(p, now)),
        pagination: nextPage(nextCursor),
        applications: {},
        integrations: {},
      };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/shared',
    operationId: 'listSharedProjects',
    summary: 'Lists projects that others share with the caller: none, because keys open whole agents',
    query: schemas.sharedProjectsQuery,
    status: 200,
    response: schemas.sharedProjects,
    handle: async ({ control, call }) => {
      await control.whoAmI({}, call);
      return { projects: [] };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}',
    operationId: 'getProject',
    summary: 'One project',
    params: projectPath,
    status: 200,
    response: schemas.projectResponse,
    handle: async ({ path, control, call, now }) => ({
      project: projectJson(await control.getProject({ projectId: path.project_id }, call), now),
    }),
  }),
  route({
    method: 'PATCH',
    path: '/projects/{project_id}',
    operationId: 'updateProject',
    summary: 'Changes the name, the history kept, the defaults of endpoints or the limits of a project',
    params: projectPath,
    body: { schema: schemas.updateProjectBody, required: true },
    status: 200,
    response: schemas.projectOperations,
    handle: async ({ path, body: { project: p }, control, call, now }) => {
      refuseProjectSettings(p.settings);
      const {
        autoscaling_limit_min_cu: min,
        autoscaling_limit_max_cu: max,
        suspend_timeout_seconds: suspend,
        ...rest
      } = p.default_endpoint_settings ?? {};
      refuseComputeSettings('project.default_endpoint_settings', rest);
      const settings = p.settings?.quota
        ? limits(p.settings, (await control.getProject({ projectId: path.project_id }, call)).settings)
        : undefined;
      const changed = await control.updateProject(
        {
          projectId: path.project_id,
          name: p.name,
          historyRetentionSeconds: p.history_retention_seconds,
          suspendTimeoutSeconds: suspend,
          minComputeUnits: min,
          maxComputeUnits: max,
          settings,
        },
        call,
      );
      return {
        project: projectJson(changed.project, now),
        operations: changed.operations.map(operationJson),
      };
    },
  }),
  route({
    method: 'DELETE',
    path: '/projects/{project_id}',
    operationId: 'deleteProject',
    summary: 'Deletes a project with all its branches; recoverable for a while unless hard_delete',
    params: projectPath,
    query: schemas.deleteProjectQuery,
    status: 200,
    response: schemas.projectResponse,
    handle: async ({ path, query, control, call, now }) => {
      const { project } = await control.deleteProject(
        { projectId: path.project_id, hard: query.hard_delete ?? false },
        call,
      );
      return { project: projectJson(project, now) };
    },
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/recover',
    operationId: 'recoverProject',
    summary: 'Brings back a deleted project with its branches',
    params: projectPath,
    status: 200,
    response: schemas.projectRecovered,
    handle: async ({ path, control, call, now }) => {
      const { project, branches } = await control.recoverProject({ projectId: path.project_id }, call);
      return { project: projectJson(project, now), branches: branches.map(branchJson) };
    },
  }),
];

/** Lists that Neon's clients ask for and that are always empty here; the project must exist all the same. */
export const emptyListRoutes = [
  route({
    method: 'GET',
    path: '/projects/{project_id}/permissions',
    operationId: 'listProjectPermissions',
    summary: 'Lists with whom the project is shared: nobody, because API keys say who may what',
    params: projectPath,
    status: 200,
    response: schemas.projectPermissions,
    handle: async ({ path, control, call }) => {
      await control.getProject({ projectId: path.project_id }, call);
      return { project_permissions: [] };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/available_preload_libraries',
    operationId: 'getAvailablePreloadLibraries',
    summary: 'Lists libraries that computes can preload: none',
    params: projectPath,
    status: 200,
    response: schemas.preloadLibraries,
    handle: async ({ path, control, call }) => {
      await control.getProject({ projectId: path.project_id }, call);
      return { libraries: [] };
    },
  }),
];
