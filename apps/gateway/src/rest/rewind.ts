/** Going back: restore, recover, checkpoints; and the schema then and now. */
import { expiryMs, forkLsn, forkMicros } from './formats';
import { nextPage, route } from './route';
import * as branches from './schemas/branches';
import { operationsResponse } from './schemas/operations';
import { branchPath } from './schemas/primitives';
import * as schemas from './schemas/rewind';
import { branchChangedJson, branchJson } from './shapes/branches';
import { endpointJson } from './shapes/endpoints';
import { operationJson } from './shapes/operations';
import { checkpointJson } from './shapes/rewind';

export const rewindRoutes = [
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/restore',
    operationId: 'restoreProjectBranch',
    summary:
      'Puts a branch in place to another state; its id, endpoints, connection strings and credentials stay',
    params: branchPath,
    body: { schema: schemas.restoreBody, required: true },
    status: 200,
    response: branches.branchOperations,
    handle: async ({ path, body, control, call }) =>
      branchChangedJson(
        await control.restoreBranch(
          {
            projectId: path.project_id,
            branchId: path.branch_id,
            sourceBranchId: body.source_branch_id ?? '',
            sourceLsn: forkLsn(body.source_lsn),
            sourceTimestampUnixMicros: forkMicros(body.source_timestamp),
            sourceCheckpoint: body.source_checkpoint ?? '',
            preserveUnderName: body.preserve_under_name ?? '',
          },
          call,
        ),
      ),
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/recover',
    operationId: 'recoverProjectBranch',
    summary: 'Brings back a deleted branch with everything that was deleted with it',
    params: branchPath,
    status: 200,
    response: branches.branchRecovered,
    handle: async ({ path, control, call }) => {
      const { branch, endpoints, others } = await control.recoverBranch(
        { projectId: path.project_id, branchId: path.branch_id },
        call,
      );
      return {
        branch: branchJson(branch),
        endpoints: endpoints.map(endpointJson),
        recovered_with_it: others.map(branchJson),
      };
    },
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/set_as_default',
    operationId: 'setDefaultProjectBranch',
    summary: 'Makes a branch the default one of its project',
    params: branchPath,
    status: 200,
    response: branches.branchOperations,
    handle: async ({ path, control, call }) =>
      branchChangedJson(
        await control.setDefaultBranch({ projectId: path.project_id, branchId: path.branch_id }, call),
      ),
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/renew',
    operationId: 'renewProjectBranch',
    summary: "Starts a branch's time to live anew",
    params: branchPath,
    status: 200,
    response: branches.branchOperations,
    handle: async ({ path, control, call }) =>
      branchChangedJson(
        await control.renewBranch({ projectId: path.project_id, branchId: path.branch_id }, call),
      ),
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/finalize_restore',
    operationId: 'finalizeRestoreBranch',
    summary: 'Lets a branch restored from a snapshot take the place of the one it was restored for',
    params: branchPath,
    body: { schema: schemas.finalizeBody.optional(), required: false },
    status: 200,
    response: operationsResponse,
    handle: async ({ path, body, control, call }) => {
      const { operations } = await control.finalizeRestore(
        { projectId: path.project_id, branchId: path.branch_id, name: body?.name ?? '' },
        call,
      );
      return { operations: operations.map(operationJson) };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}/schema',
    operationId: 'getProjectBranchSchema',
    summary: 'The schema of a database of a branch, now or at a position of its history, as SQL or JSON',
    params: branchPath,
    query: schemas.schemaQuery,
    status: 200,
    response: schemas.branchSchema,
    handle: async ({ path, query, control, call }) => {
      const { sql, json } = await control.getBranchSchema(
        {
          projectId: path.project_id,
          branchId: path.branch_id,
          database: query.db_name,
          lsn: forkLsn(query.lsn),
          timestampUnixMicros: forkMicros(query.timestamp),
        },
        call,
      );
      return query.format === 'json' ? { json: JSON.parse(json) as unknown } : { sql };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}/compare_schema',
    operationId: 'getProjectBranchSchemaComparison',
    summary: 'The schema of a branch against that of its parent or another branch, as a unified diff',
    params: branchPath,
    query: schemas.compareQuery,
    status: 200,
    response: schemas.schemaComparison,
    handle: ({ path, query, control, call }) =>
      control.compareBranchSchemas(
        {
          projectId: path.project_id,
          branchId: path.branch_id,
          baseBranchId: query.base_branch_id ?? '',
          database: query.db_name,
          lsn: forkLsn(query.lsn),
          timestampUnixMicros: forkMicros(query.timestamp),
          baseLsn: forkLsn(query.base_lsn),
          baseTimestampUnixMicros: forkMicros(query.base_timestamp),
        },
        call,
      ),
  }),
];

export const checkpointRoutes = [
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/checkpoints',
    operationId: 'createCheckpoint',
    summary: 'Names the state of a branch now or at a position of its history',
    params: branchPath,
    body: { schema: schemas.createCheckpointBody.optional(), required: false },
    status: 201,
    response: schemas.checkpointResponse,
    handle: async ({ path, body, control, call }) => {
      const c = body?.checkpoint ?? {};
      const made = await control.createCheckpoint(
        {
          projectId: path.project_id,
          branchId: path.branch_id,
          name: c.name ?? '',
          lsn: forkLsn(c.lsn),
          timestampUnixMicros: forkMicros(c.timestamp),
          expiresUnixMs: expiryMs(c.expires_at),
        },
        call,
      );
      return { checkpoint: checkpointJson(made) };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}/checkpoints',
    operationId: 'listCheckpoints',
    summary: 'Lists the checkpoints of a branch, newest first',
    params: branchPath,
    query: schemas.checkpointsQuery,
    status: 200,
    response: schemas.checkpointsResponse,
    handle: async ({ path, query, control, call }) => {
      const { checkpoints, nextCursor } = await control.listCheckpoints(
        {
          projectId: path.project_id,
          branchId: path.branch_id,
          cursor: query.cursor ?? '',
          limit: query.limit ?? 0,
        },
        call,
      );
      return { checkpoints: checkpoints.map(checkpointJson), pagination: nextPage(nextCursor) };
    },
  }),
  route({
    method: 'DELETE',
    path: '/projects/{project_id}/branches/{branch_id}/checkpoints/{checkpoint}',
    operationId: 'deleteCheckpoint',
    summary: 'Forgets a checkpoint, by id or name',
    params: schemas.checkpointPath,
    status: 200,
    gone: 'checkpoint-not-found',
    response: schemas.checkpointResponse,
    handle: async ({ path, control, call }) => ({
      checkpoint: checkpointJson(
        await control.deleteCheckpoint(
          { projectId: path.project_id, branchId: path.branch_id, checkpoint: path.checkpoint },
          call,
        ),
      ),
    }),
  }),
];
