import { type RestRequest, route } from './route';
import { branchPath } from './schemas/primitives';
import * as schemas from './schemas/roles-and-databases';
import { roleChangedJson, roleJson } from './shapes/roles-and-databases';

interface RolePath {
  readonly project_id: string;
  readonly branch_id: string;
  readonly role_name: string;
}
const refOf = ({ path }: RestRequest<RolePath, unknown, unknown>) => ({
  projectId: path.project_id,
  branchId: path.branch_id,
  roleName: path.role_name,
});

export const roleRoutes = [
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/roles',
    operationId: 'createProjectBranchRole',
    summary: 'Makes a role in Postgres, with a password',
    params: branchPath,
    body: { schema: schemas.createRoleBody, required: true },
    status: 201,
    response: schemas.roleOperations,
    handle: async ({ path, body: { role }, control, call }) => {
      return roleChangedJson(
        await control.createRole(
          {
            projectId: path.project_id,
            branchId: path.branch_id,
            roleName: role.name,
            noLogin: role.no_login ?? false,
          },
          call,
        ),
      );
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}/roles',
    operationId: 'listProjectBranchRoles',
    summary: 'Lists the roles of a branch',
    params: branchPath,
    status: 200,
    response: schemas.rolesResponse,
    handle: async ({ path, control, call }) => {
      const { roles } = await control.listRoles(
        { projectId: path.project_id, branchId: path.branch_id },
        call,
      );
      return { roles: roles.map(roleJson) };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}/roles/{role_name}',
    operationId: 'getProjectBranchRole',
    summary: 'One role',
    params: schemas.rolePath,
    status: 200,
    response: schemas.roleResponse,
    handle: async (request) => ({
      role: roleJson(await request.control.getRole(refOf(request), request.call)),
    }),
  }),
  route({
    method: 'DELETE',
    path: '/projects/{project_id}/branches/{branch_id}/roles/{role_name}',
    operationId: 'deleteProjectBranchRole',
    summary: 'Drops a role; refused while it owns objects',
    params: schemas.rolePath,
    status: 200,
    gone: 'role-not-found',
    response: schemas.roleOperations,
    handle: async (request) =>
      roleChangedJson(await request.control.deleteRole(refOf(request), request.call)),
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}/roles/{role_name}/reveal_password',
    operationId: 'getProjectBranchRolePassword',
    summary: 'The password of a role',
    params: schemas.rolePath,
    status: 200,
    response: schemas.rolePassword,
    handle: async (request) => {
      const { password } = await request.control.revealRolePassword(refOf(request), request.call);
      return { password };
    },
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/roles/{role_name}/reset_password',
    operationId: 'resetProjectBranchRolePassword',
    summary: 'Gives a role a new password; the old one stops working',
    params: schemas.rolePath,
    status: 200,
    response: schemas.roleOperations,
    handle: async (request) =>
      roleChangedJson(await request.control.resetRolePassword(refOf(request), request.call)),
  }),
];
