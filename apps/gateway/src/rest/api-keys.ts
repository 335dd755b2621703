/** API keys, under each of the names that clients know: one's own, the organisation's, an agent's. */
import { CoppiceError } from '@coppice/service-kit';
import type { z } from 'zod';
import { type RestRequest, route } from './route';
import * as schemas from './schemas/accounts';
import { agentPath } from './schemas/fleet';
import { keyCreatedJson, keyListItemJson, keyRevokedJson } from './shapes/accounts';
import { checkPlace } from './unsupported';

type Any = RestRequest<unknown, unknown, unknown>;

async function list({ fleet, call }: Any, agentId: string): Promise<z.infer<typeof schemas.keyList>> {
  return (await fleet.listApiKeys({ agentId }, call)).keys.map(keyListItemJson);
}

async function create(
  { fleet, call, body }: RestRequest<unknown, unknown, z.infer<typeof schemas.createKeyBody>>,
  agentId: string,
): Promise<z.infer<typeof schemas.keyCreated>> {
  const made = await fleet.createApiKey(
    {
      name: body.key_name,
      agentId,
      projectId: body.project_id ?? '',
      branchId: body.branch_id ?? '',
      ttlSeconds: body.ttl_seconds ?? 0,
    },
    call,
  );
  return keyCreatedJson(made);
}

async function revoke({ fleet, call }: Any, id: number): Promise<z.infer<typeof schemas.keyRevoked>> {
  return keyRevokedJson(await fleet.revokeApiKey({ id }, call));
}

/** Whose key it is does not show in its number, so it is looked for among the agent's. */
async function revokeOf(
  request: Any,
  agentId: string,
  id: number,
): Promise<z.infer<typeof schemas.keyRevoked>> {
  const { keys } = await request.fleet.listApiKeys({ agentId }, request.call);
  if (!keys.some((k) => k.id === id))
    throw new CoppiceError('NotFound', 'api-key-not-found', `API key ${id} does not exist for this agent`, {
      remedy: 'List the keys to see their ids.',
    });
  return revoke(request, id);
}

const createBody = { schema: schemas.createKeyBody, required: true } as const;

export const apiKeyRoutes = [
  route({
    method: 'GET',
    path: '/api_keys',
    operationId: 'listApiKeys',
    summary: "Lists the caller's API keys",
    status: 200,
    response: schemas.keyList,
    handle: (request) => list(request, ''),
  }),
  route({
    method: 'POST',
    path: '/api_keys',
    operationId: 'createApiKey',
    summary: 'Makes an API key, which opens no more than the one that makes it; it is shown once',
    body: createBody,
    status: 200,
    response: schemas.keyCreated,
    handle: (request) => create(request, ''),
  }),
  route({
    method: 'DELETE',
    path: '/api_keys/{key_id}',
    operationId: 'revokeApiKey',
    summary: 'Revokes an API key',
    params: schemas.keyPath,
    status: 200,
    response: schemas.keyRevoked,
    handle: (request) => revoke(request, request.path.key_id),
  }),
  route({
    method: 'GET',
    path: '/organizations/{org_id}/api_keys',
    operationId: 'listOrgApiKeys',
    summary: "Lists the caller's API keys",
    params: schemas.orgPath,
    status: 200,
    response: schemas.keyList,
    handle: async (request) => {
      checkPlace({ org: request.path.org_id });
      return list(request, '');
    },
  }),
  route({
    method: 'POST',
    path: '/organizations/{org_id}/api_keys',
    operationId: 'createOrgApiKey',
    summary: 'Makes an API key, for one project if that is named',
    params: schemas.orgPath,
    body: createBody,
    status: 200,
    response: schemas.keyCreated,
    handle: async (request) => {
      checkPlace({ org: request.path.org_id });
      return create(request, '');
    },
  }),
  route({
    method: 'DELETE',
    path: '/organizations/{org_id}/api_keys/{key_id}',
    operationId: 'revokeOrgApiKey',
    summary: 'Revokes an API key',
    params: schemas.orgKeyPath,
    status: 200,
    response: schemas.keyRevoked,
    handle: async (request) => {
      checkPlace({ org: request.path.org_id });
      return revoke(request, request.path.key_id);
    },
  }),
  route({
    method: 'GET',
    path: '/agents/{agent_id}/api_keys',
    operationId: 'listAgentApiKeys',
    summary: 'Lists the API keys of an agent',
    params: agentPath,
    status: 200,
    response: schemas.keyList,
    handle: (request) => list(request, request.path.agent_id),
  }),
  route({
    method: 'POST',
    path: '/agents/{agent_id}/api_keys',
    operationId: 'createAgentApiKey',
    summary: 'Makes an API key of an agent; it is shown once',
    params: agentPath,
    body: createBody,
    status: 201,
    response: schemas.keyCreated,
    handle: (request) => create(request, request.path.agent_id),
  }),
  route({
    method: 'DELETE',
    path: '/agents/{agent_id}/api_keys/{key_id}',
    operationId: 'revokeAgentApiKey',
    summary: 'Revokes an API key of an agent',
    params: schemas.agentKeyPath,
    status: 200,
    response: schemas.keyRevoked,
    handle: (request) => revokeOf(request, request.path.agent_id, request.path.key_id),
  }),
];
