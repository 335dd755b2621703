import { forkLsn, forkMicros } from './formats';
import { refuseUnsupported } from './projects';
import { route } from './route';
import * as schemas from './schemas';
import { branchJson, branchPartsJson, operationJson } from './shapes';

export const branchRoutes = [
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches',
    operationId: 'createProjectBranch',
    summary: 'Forks a branch at its head, at an LSN or at a time',
    params: schemas.projectPath,
    body: { schema: schemas.createBranchBody.optional(), required: false },
    status: 201,
    response: schemas.responses.branchCreated,
    handle: async ({ path, body, control, call }) => {
      const b = body?.branch ?? {};
      refuseUnsupported({
        'branch.archived': b.archived,
        'branch.expires_at': b.expires_at,
        'branch.init_source': b.init_source === 'parent-data' ? undefined : b.init_source,
        annotation_value: body?.annotation_value,
      });
      for (const e of body?.endpoints ?? []) refuseUnsupported({ 'endpoints.settings': e.settings });
      const made = await control.createBranch(
        {
          projectId: path.project_id,
          parentId: b.parent_id ?? '',
          name: b.name ?? '',
          parentLsn: forkLsn(b.parent_lsn),
          parentTimestampUnixMicros: forkMicros(b.parent_timestamp),
          isProtected: b.protected ?? false,
          endpoints: (body?.endpoints ?? []).map((e) => ({
            type: e.type,
            suspendTimeoutSeconds: e.suspend_timeout_seconds ?? 0,
            minComputeUnits: e.autoscaling_limit_min_cu ?? 0,
            maxComputeUnits: e.autoscaling_limit_max_cu ?? 0,
          })),
        },
        call,
      );
      const { connection_uris, ...rest } = branchPartsJson(made);
      return connection_uris.length > 0 ? { ...rest, connection_uris } : rest;
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches',
    operationId: 'listProjectBranches',
    summary: 'Lists the branches of a project',
    params: schemas.projectPath,
    query: schemas.branchesQuery,
    status: 200,
    response: schemas.responses.branches,
    handle: async ({ path, query, control, call }) => {
      refuseUnsupported({ include_deleted: query.include_deleted === 'true' });
      const sortBy = query.sort_by ?? 'updated_at';
      const sortOrder = query.sort_order ?? 'desc';
      const { branches, nextCursor } = await control.listBranches(
        {
          projectId: path.project_id,
          cursor: query.cursor ?? '',
          limit: query.limit ?? 0,
          search: query.search ?? '',
          sortBy,
          sortOrder,
        },
        call,
      );
      return {
        branches: branches.map(branchJson),
        annotations: {},
        pagination: { next: nextCursor || undefined, sort_by: sortBy, sort_order: sortOrder },
      };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}',
    operationId: 'getProjectBranch',
    summary: 'One branch',
    params: schemas.branchPath,
    status: 200,
    response: schemas.responses.branch,
    handle: async ({ path, control, call }) => {
      const branch = await control.getBranch({ projectId: path.project_id, branchId: path.branch_id }, call);
      return {
        branch: branchJson(branch),
        annotation: { object: { type: 'console/branch', id: branch.id }, value: {} },
      };
    },
  }),
  route({
    method: 'DELETE',
    path: '/projects/{project_id}/branches/{branch_id}',
    operationId: 'deleteProjectBranch',
    summary: 'Deletes a branch without children',
    params: schemas.branchPath,
    query: schemas.deleteBranchQuery,
    status: 200,
    response: schemas.responses.branchOperations,
    handle: async ({ path, query, control, call }) => {
      refuseUnsupported({ hard_delete: query.hard_delete === 'true' });
      const { branch, operations } = await control.deleteBranch(
        { projectId: path.project_id, branchId: path.branch_id },
        call,
      );
      return { branch: branchJson(branch), operations: operations.map(operationJson) };
    },
  }),
];
