/** The public contract, served: each call finds its caller, then does one thing. */
import { findOperation, listOperations, type Db } from '@coppice/catalog';
import { type CallContext, controlContract, serve, type ServedContract } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import type { Authorize, Caller } from '../access/authorize';
import type { BranchSchemas } from '../schema/branch-schemas';
import { notOffered } from './not-offered';
import type { Branches } from '../branches/branches';
import type { DeleteBranch } from '../branches/delete-branch';
import type { RecoverBranch } from '../branches/recover-branch';
import type { UpdateBranch } from '../branches/update-branch';
import type { ChangeEndpoints } from '../computes/change-endpoints';
import type { Endpoints } from '../computes/endpoints';
import type { Logins } from '../credentials/logins';
import { operationModel } from '../models';
import { decodeCursor, encodeCursor } from '../naming/cursor';
import { pageSize } from '../naming/page-size';
import type { BuildTemplate } from '../projects/build-template';
import type { ChangeProjects } from '../projects/change-projects';
import type { Projects } from '../projects/projects';
import type { Databases } from '../roles/databases';
import type { Roles } from '../roles/roles';
import type { Rewind } from '../rewind/rewind';

export interface ControlServices {
  readonly db: Db;
  readonly authorize: Authorize;
  readonly projects: Projects;
  readonly changeProjects: ChangeProjects;
  readonly branches: Branches;
  readonly deleteBranch: DeleteBranch;
  readonly recoverBranch: RecoverBranch;
  readonly updateBranch: UpdateBranch;
  readonly rewind: Rewind;
  readonly endpoints: Endpoints;
  readonly changeEndpoints: ChangeEndpoints;
  readonly schemas: BranchSchemas;
  readonly roles: Roles;
  readonly databases: Databases;
  readonly logins: Logins;
  readonly template: BuildTemplate;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const DEFAULT_OPERATIONS = 100;
const MAX_OPERATIONS = 1000;

export function serveControl({
  db,
  authorize,
  projects,
  changeProjects,
  branches,
  deleteBranch,
  recoverBranch,
  updateBranch,
  rewind,
  endpoints,
  changeEndpoints,
  schemas,
  roles,
  databases,
  logins,
  template,
}: ControlServices): ServedContract {
  const asCaller =
    <Req, Res>(run: (caller: Caller, request: Req, context: CallContext) => Promise<Res>) =>
    async (request: Req, context: CallContext): Promise<Res> =>
      run(await authorize.caller(context), request, context);
  return serve(controlContract, {
    ...notOffered(controlContract),
    createProject: asCaller((caller, request, context) => projects.create(caller, request, context)),
    listProjects: asCaller((caller, request) => projects.list(caller, request)),
    getProject: asCaller((caller, request) => projects.get(caller, request)),
    updateProject: asCaller((caller, request) => changeProjects.update(caller, request)),
    deleteProject: asCaller((caller, request) => changeProjects.delete(caller, request)),
    recoverProject: asCaller((caller, request) => changeProjects.recover(caller, request)),
    createBranch: asCaller((caller, request, context) => branches.create(caller, request, context)),
    listBranches: asCaller((caller, request) => branches.list(caller, request)),
    getBranch: asCaller((caller, request) => branches.get(caller, request)),
    countBranches: asCaller((caller, request) => branches.count(caller, request)),
    updateBranch: asCaller((caller, request) => updateBranch.update(caller, request)),
    deleteBranch: asCaller((caller, request) => deleteBranch.delete(caller, request)),
    recoverBranch: asCaller((caller, request) => recoverBranch.recover(caller, request)),
    setDefaultBranch: asCaller((caller, request) => updateBranch.setDefault(caller, request)),
    renewBranch: asCaller((caller, request) => updateBranch.renew(caller, request)),
    restoreBranch: asCaller((caller, request, context) => rewind.branch.restore(caller, request, context)),
    createCheckpoint: asCaller((caller, request, context) =>
      rewind.checkpoints.create(caller, request, context),
    ),
    listCheckpoints: asCaller((caller, request) => rewind.checkpoints.list(caller, request)),
    deleteCheckpoint: asCaller((caller, request) => rewind.checkpoints.delete(caller, request)),
    createSnapshot: asCaller((caller, request, context) => rewind.snapshots.create(caller, request, context)),
    listSnapshots: asCaller((caller, request) => rewind.snapshots.list(caller, request)),
    updateSnapshot: asCaller((caller, request) => rewind.snapshots.update(caller, request)),
    deleteSnapshot: asCaller((caller, request) => rewind.snapshots.delete(caller, request)),
    restoreSnapshot: asCaller((caller, request, context) =>
      rewind.snapshot.restore(caller, request, context),
    ),
    finalizeRestore: asCaller((caller, request) => rewind.snapshot.finalize(caller, request)),
    listEndpoints: asCaller((caller, request) => endpoints.list(caller, request)),
    getEndpoint: asCaller((caller, request) => endpoints.get(caller, request)),
    getEndpointActivity: asCaller((caller, request) => endpoints.activity(caller, request)),
    startEndpoint: asCaller((caller, request) => endpoints.start(caller, request)),
    suspendEndpoint: asCaller((caller, request) => endpoints.suspend(caller, request)),
    restartEndpoint: asCaller((caller, request) => endpoints.restart(caller, request)),
    createEndpoint: asCaller((caller, request, context) => changeEndpoints.create(caller, request, context)),
    updateEndpoint: asCaller((caller, request) => changeEndpoints.update(caller, request)),
    deleteEndpoint: asCaller((caller, request) => changeEndpoints.delete(caller, request)),
    getBranchSchema: asCaller((caller, request) => schemas.get(caller, request)),
    compareBranchSchemas: asCaller((caller, request) => schemas.compare(caller, request)),
    createRole: asCaller((caller, request, context) => roles.create(caller, request, context)),
    listRoles: asCaller((caller, request) => roles.list(caller, request)),
    getRole: asCaller((caller, request) => roles.get(caller, request)),
    deleteRole: asCaller((caller, request) => roles.delete(caller, request)),
    revealRolePassword: asCaller((caller, request) => roles.revealPassword(caller, request)),
    resetRolePassword: asCaller((caller, request) => roles.resetPassword(caller, request)),
    createDatabase: asCaller((caller, request, context) => databases.create(caller, request, context)),
    listDatabases: asCaller((caller, request) => databases.list(caller, request)),
    getDatabase: asCaller((caller, request) => databases.get(caller, request)),
    updateDatabase: asCaller((caller, request) => databases.update(caller, request)),
    deleteDatabase: asCaller((caller, request) => databases.delete(caller, request)),
    getConnectionUri: asCaller((caller, request) => logins.uri(caller, request)),
    listOperations: asCaller(async (caller, request) => {
      const project = await projects.find(caller, request.projectId);
      const limit = pageSize(request.limit, DEFAULT_OPERATIONS, MAX_OPERATIONS);
      const rows = await listOperations(db, project.id, limit + 1, {
        branchId: caller.branchId,
        after: uuidCursor(request.cursor),
      });
      const last = rows.length > limit ? rows[limit - 1] : undefined;
      return {
        operations: rows.slice(0, limit).map(operationModel),
        nextCursor: last ? encodeCursor({ key: last.created_at, id: last.id }) : '',
      };
    }),
    getOperation: asCaller(async (caller, request) => {
      const project = await projects.find(caller, request.projectId);
      const row = UUID.test(request.operationId)
        ? await findOperation(db, project.id, request.operationId)
        : undefined;
      if (!row || (caller.branchId !== undefined && caller.branchId !== row.branch_id))
        throw new CoppiceError(
          'NotFound',
          'operation-not-found',
          `operation ${JSON.stringify(request.operationId.slice(0, 60))} does not exist in this project`,
          { remedy: 'List the operations to see their ids.' },
        );
      return operationModel(row);
    }),
    whoAmI: asCaller(async (caller) => ({
      agentId: caller.agentId,
      name: caller.name,
      scope: caller.scope,
      projectId: caller.projectId ?? '',
      branchId: caller.branchId ?? '',
      createdUnixMs: caller.createdAt,
    })),
    getReadiness: async () => ({ ready: template.waitingFor === '', waitingFor: template.waitingFor }),
  });
}

function uuidCursor(text: string): ReturnType<typeof decodeCursor<'number'>> {
  const after = decodeCursor(text, 'number');
  if (after && !UUID.test(after.id))
    throw new CoppiceError('Malformed', 'bad-cursor', 'the cursor is not one that this list gave out', {
      remedy: 'Start again without a cursor.',
    });
  return after;
}
