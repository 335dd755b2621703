import { expiryMs, forkLsn, forkMicros } from './formats';
import { CoppiceError } from '@coppice/service-kit';
import { type RestRequest, route } from './route';
import { operationsResponse } from './schemas/operations';
import { branchPath, projectPath } from './schemas/primitives';
import * as schemas from './schemas/rewind';
import { branchPartsJson } from './shapes/branches';
import { operationJson } from './shapes/operations';
import { snapshotJson } from './shapes/rewind';
import { refuseUnsupported } from './unsupported';

type OnSnapshot = RestRequest<
  { readonly project_id: string; readonly snapshot_id: string },
  unknown,
  unknown
>;

/** The branch that a snapshot was taken of, for which it is restored unless another is named; empty when that is gone. */
async function sourceOf({ path, control, call }: OnSnapshot): Promise<string> {
  const projectId = path.project_id;
  const { snapshots } = await control.listSnapshots({ projectId }, call);
  const branchId = snapshots.find((s) => s.id === path.snapshot_id)?.sourceBranchId ?? '';
  if (branchId === '') return '';
  try {
    return (await control.getBranch({ projectId, branchId }, call)).id;
  } catch (error) {
    if (error instanceof CoppiceError && error.code === 'branch-not-found') return '';
    throw error;
  }
}

export const snapshotRoutes = [
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/snapshot',
    operationId: 'createSnapshot',
    summary: 'Takes a snapshot of a branch, which outlives the branch',
    params: branchPath,
    query: schemas.createSnapshotQuery,
    status: 200,
    response: schemas.snapshotOperations,
    handle: async ({ path, query, control, call }) => {
      refuseUnsupported({ slug: query.slug });
      const { snapshot, operations } = await control.createSnapshot(
        {
          projectId: path.project_id,
          branchId: path.branch_id,
          name: query.name ?? '',
          lsn: forkLsn(query.lsn),
          timestampUnixMicros: forkMicros(query.timestamp),
          expiresUnixMs: expiryMs(query.expires_at),
        },
        call,
      );
      return { snapshot: snapshotJson(snapshot), operations: operations.map(operationJson) };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/snapshots',
    operationId: 'listSnapshots',
    summary: 'Lists the snapshots of a project',
    params: projectPath,
    status: 200,
    response: schemas.snapshotsResponse,
    handle: async ({ path, control, call }) => ({
      snapshots: (await control.listSnapshots({ projectId: path.project_id }, call)).snapshots.map(
        snapshotJson,
      ),
    }),
  }),
  route({
    method: 'PATCH',
    path: '/projects/{project_id}/snapshots/{snapshot_id}',
    operationId: 'updateSnapshot',
    summary: 'Renames a snapshot',
    params: schemas.snapshotPath,
    body: { schema: schemas.updateSnapshotBody, required: true },
    status: 200,
    response: schemas.snapshotResponse,
    handle: async ({ path, body, control, call }) => {
      refuseUnsupported({ 'snapshot.expires_at': body.snapshot.expires_at });
      if (body.snapshot.name === undefined)
        throw new CoppiceError('Malformed', 'invalid-request', 'body.snapshot.name is missing', {
          remedy: 'Give the new name.',
        });
      const { snapshot } = await control.updateSnapshot(
        { projectId: path.project_id, snapshotId: path.snapshot_id, name: body.snapshot.name },
        call,
      );
      return { snapshot: snapshotJson(snapshot) };
    },
  }),
  route({
    method: 'DELETE',
    path: '/projects/{project_id}/snapshots/{snapshot_id}',
    operationId: 'deleteSnapshot',
    summary: 'Deletes a snapshot',
    params: schemas.snapshotPath,
    status: 202,
    response: operationsResponse,
    handle: async ({ path, control, call }) => {
      const { operations } = await control.deleteSnapshot(
        { projectId: path.project_id, snapshotId: path.snapshot_id },
        call,
      );
      return { operations: operations.map(operationJson) };
    },
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/snapshots/{snapshot_id}/restore',
    operationId: 'restoreSnapshot',
    summary:
      'Makes a branch from a snapshot, which with finalize_restore takes the place of the target branch',
    params: schemas.snapshotPath,
    query: schemas.restoreSnapshotQuery,
    body: { schema: schemas.restoreSnapshotBody.optional(), required: false },
    status: 200,
    response: schemas.snapshotRestored,
    handle: async (request) => {
      const { path, query, body, control, call } = request;
      const made = await control.restoreSnapshot(
        {
          projectId: path.project_id,
          snapshotId: path.snapshot_id,
          name: body?.name ?? query.name ?? '',
          targetBranchId: body?.target_branch_id ?? (await sourceOf(request)),
          finalize: body?.finalize_restore ?? false,
        },
        call,
      );
      const { branch, endpoints, operations } = branchPartsJson(made);
      return { branch, endpoints, operations };
    },
  }),
];
