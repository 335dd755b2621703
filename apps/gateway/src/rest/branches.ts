import type { NewTimeToLive, Omittable } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { expiryMs, forkLsn, forkMicros } from './formats';
import { route } from './route';
import * as schemas from './schemas/branches';
import { branchPath, projectPath } from './schemas/primitives';
import { annotationJson, branchChangedJson, branchJson, branchPartsJson } from './shapes/branches';
import { refuseComputeSettings, refuseUnsupported } from './unsupported';

interface Lifetime {
  readonly expires_at?: string | null | undefined;
  readonly ttl?: schemas.TtlBody | null | undefined;
}

/** When the branch is to end: Neon's `expires_at`, or `ttl`; `undefined` when neither says so. */
function timeToLive({ expires_at, ttl }: Lifetime): Omittable<NewTimeToLive> | undefined {
  if (expires_at && ttl)
    throw new CoppiceError(
      'Invalid',
      'two-ends',
      'branch.expires_at and branch.ttl both say when the branch ends',
      {
        remedy: 'Leave one out.',
      },
    );
  if (expires_at) return { kind: 'absolute', expiresUnixMs: expiryMs(expires_at) };
  if (!ttl) return undefined;
  return {
    kind: ttl.kind,
    ...(ttl.kind === 'absolute' ? { expiresUnixMs: expiryMs(ttl.expires_at) } : { seconds: ttl.seconds }),
    subtree: ttl.subtree ?? false,
    defaultBranch: ttl.default_branch ?? false,
  };
}

export const branchRoutes = [
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches',
    operationId: 'createProjectBranch',
    summary: 'Forks a branch at its head, at an LSN, at a time or at a checkpoint',
    params: projectPath,
    body: { schema: schemas.createBranchBody.optional(), required: false },
    status: 201,
    response: schemas.branchCreated,
    handle: async ({ path, body, control, call }) => {
      const b = body?.branch ?? {};
      refuseUnsupported({ 'branch.archived': b.archived });
      for (const e of body?.endpoints ?? []) refuseComputeSettings('endpoints.settings', e.settings);
      const made = await control.createBranch(
        {
          projectId: path.project_id,
          parentId: b.parent_id ?? '',
          name: b.name ?? '',
          parentLsn: forkLsn(b.parent_lsn),
          parentTimestampUnixMicros: forkMicros(b.parent_timestamp),
          parentCheckpoint: b.parent_checkpoint ?? '',
          isProtected: b.protected ?? false,
          ttl: timeToLive(b),
          annotations: body?.annotation_value ?? {},
          initSource: b.init_source ?? '',
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
    params: projectPath,
    query: schemas.branchesQuery,
    status: 200,
    response: schemas.branchesResponse,
    handle: async ({ path, query, control, call }) => {
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
          includeDeleted: query.include_deleted ?? false,
        },
        call,
      );
      const annotated = branches.filter((b) => Object.keys(b.annotations).length > 0);
      return {
        branches: branches.map(branchJson),
        annotations: Object.fromEntries(annotated.map((b) => [b.id, annotationJson(b)])),
        pagination: { next: nextCursor || undefined, sort_by: sortBy, sort_order: sortOrder },
      };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/count',
    operationId: 'countProjectBranches',
    summary: 'Counts the branches of a project',
    params: projectPath,
    query: schemas.countQuery,
    status: 200,
    response: schemas.branchCount,
    handle: ({ path, query, control, call }) =>
      control.countBranches({ projectId: path.project_id, search: query.search ?? '' }, call),
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}',
    operationId: 'getProjectBranch',
    summary: 'One branch',
    params: branchPath,
    status: 200,
    response: schemas.branchResponse,
    handle: async ({ path, control, call }) => {
      const branch = await control.getBranch({ projectId: path.project_id, branchId: path.branch_id }, call);
      return { branch: branchJson(branch), annotation: annotationJson(branch) };
    },
  }),
  route({
    method: 'PATCH',
    path: '/projects/{project_id}/branches/{branch_id}',
    operationId: 'updateProjectBranch',
    summary: 'Renames or protects a branch, changes when it ends, or replaces its annotations',
    params: branchPath,
    body: { schema: schemas.updateBranchBody, required: true },
    status: 200,
    response: schemas.branchOperations,
    handle: async ({ path, body: { branch: b }, control, call }) =>
      branchChangedJson(
        await control.updateBranch(
          {
            projectId: path.project_id,
            branchId: path.branch_id,
            name: b.name,
            isProtected: b.protected,
            ttl: timeToLive(b),
            noTtl: (b.expires_at === null || b.ttl === null) && timeToLive(b) === undefined,
            annotations: b.annotations ?? {},
            setAnnotations: b.annotations !== undefined,
          },
          call,
        ),
      ),
  }),
  route({
    method: 'DELETE',
    path: '/projects/{project_id}/branches/{branch_id}',
    operationId: 'deleteProjectBranch',
    summary:
      'Deletes a branch; `children` says whether that is refused, takes the subtree with it or lets it live on',
    params: branchPath,
    query: schemas.deleteBranchQuery,
    status: 200,
    gone: 'branch-not-found',
    response: schemas.branchOperations,
    handle: async ({ path, query, control, call }) =>
      branchChangedJson(
        await control.deleteBranch(
          {
            projectId: path.project_id,
            branchId: path.branch_id,
            children: query.children ?? '',
            hard: query.hard_delete ?? false,
            defaultBranch: query.default_branch ?? false,
          },
          call,
        ),
      ),
  }),
];
