/** Logins that open exactly one branch for a while. */
import { route } from './route';
import * as schemas from './schemas/fleet';
import { branchPath } from './schemas/primitives';
import { credentialJson } from './shapes/fleet';

export const credentialRoutes = [
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/scoped_credentials',
    operationId: 'createScopedCredential',
    summary: 'Makes a login that opens this branch only, for a while; its password is shown once',
    params: branchPath,
    body: { schema: schemas.createCredentialBody.optional(), required: false },
    status: 201,
    response: schemas.credentialCreated,
    handle: async ({ path, body, fleet, call }) => {
      const c = body?.credential ?? {};
      const made = await fleet.createCredential(
        {
          projectId: path.project_id,
          branchId: path.branch_id,
          name: c.name ?? '',
          roleName: c.role_name ?? '',
          access: c.access ?? '',
          ttlSeconds: c.ttl_seconds ?? 0,
        },
        call,
      );
      return {
        credential: credentialJson(made.credential),
        password: made.password,
        connection_uri: made.connectionUri || undefined,
      };
    },
  }),
  route({
    method: 'GET',
    path: '/projects/{project_id}/branches/{branch_id}/scoped_credentials',
    operationId: 'listScopedCredentials',
    summary: 'Lists the credentials of a branch that still work',
    params: branchPath,
    status: 200,
    response: schemas.credentialsResponse,
    handle: async ({ path, fleet, call }) => {
      const { credentials } = await fleet.listCredentials(
        { projectId: path.project_id, branchId: path.branch_id },
        call,
      );
      return { credentials: credentials.map(credentialJson) };
    },
  }),
  route({
    method: 'POST',
    path: '/projects/{project_id}/branches/{branch_id}/scoped_credentials/{credential_id}/renew',
    operationId: 'renewScopedCredential',
    summary: "Starts a credential's time to live anew",
    params: schemas.credentialPath,
    status: 200,
    response: schemas.credentialResponse,
    handle: async ({ path, fleet, call }) => ({
      credential: credentialJson(
        await fleet.renewCredential(
          { projectId: path.project_id, branchId: path.branch_id, credentialId: path.credential_id },
          call,
        ),
      ),
    }),
  }),
  route({
    method: 'DELETE',
    path: '/projects/{project_id}/branches/{branch_id}/scoped_credentials/{credential_id}',
    operationId: 'revokeScopedCredential',
    summary: 'Revokes a credential; sessions that it opened end within seconds',
    params: schemas.credentialPath,
    status: 200,
    gone: 'credential-not-found',
    response: schemas.credentialResponse,
    handle: async ({ path, fleet, call }) => ({
      credential: credentialJson(
        await fleet.revokeCredential(
          { projectId: path.project_id, branchId: path.branch_id, credentialId: path.credential_id },
          call,
        ),
      ),
    }),
  }),
];
