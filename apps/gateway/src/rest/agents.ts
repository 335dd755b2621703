/** Agents with hard limits: our own resource beside Neon's. */
import type { Omittable, Quotas } from '@coppice/contracts';
import { nextPage, route } from './route';
import * as schemas from './schemas/fleet';
import { keyCreatedJson } from './shapes/accounts';
import { agentJson } from './shapes/fleet';

/** The contract's name of each limit. */
const LIMITS = {
  projects: 'projects',
  branches: 'branches',
  computes: 'computes',
  storage_bytes: 'storageBytes',
  compute_seconds: 'computeSeconds',
  requests_per_second: 'requestsPerSecond',
} as const satisfies Record<keyof schemas.QuotasBody, keyof Quotas>;

/** The limits that have a number, and the names of all that are mentioned: one without a number becomes unlimited. */
function quotasOf(body: schemas.QuotasBody): { quotas: Omittable<Quotas>; set: string[] } {
  const mentioned = Object.entries(body).filter(([, value]) => value !== undefined);
  return {
    quotas: Object.fromEntries(
      mentioned
        .filter(([, value]) => value !== null)
        .map(([name, value]) => [LIMITS[name as keyof typeof LIMITS], value]),
    ),
    set: mentioned.map(([name]) => name),
  };
}

export const agentRoutes = [
  route({
    method: 'POST',
    path: '/agents',
    operationId: 'createAgent',
    summary: 'Makes an agent with its limits and its first API key, which is shown once; operators only',
    body: { schema: schemas.createAgentBody, required: true },
    status: 201,
    response: schemas.agentCreated,
    handle: async ({ body: { agent: a }, fleet, call }) => {
      const { agent, apiKey } = await fleet.createAgent(
        { name: a.name ?? '', quotas: quotasOf(a.quotas ?? {}).quotas },
        call,
      );
      return { agent: agentJson(agent), api_key: keyCreatedJson(apiKey) };
    },
  }),
  route({
    method: 'GET',
    path: '/agents',
    operationId: 'listAgents',
    summary: 'Lists agents, newest first; operators only',
    query: schemas.agentsQuery,
    status: 200,
    response: schemas.agentsResponse,
    handle: async ({ query, fleet, call }) => {
      const { agents, nextCursor } = await fleet.listAgents(
        { cursor: query.cursor ?? '', limit: query.limit ?? 0, search: query.search ?? '' },
        call,
      );
      return { agents: agents.map(agentJson), pagination: nextPage(nextCursor) };
    },
  }),
  route({
    method: 'GET',
    path: '/agents/{agent_id}',
    operationId: 'getAgent',
    summary: 'One agent: its limits, and beside them what it uses',
    params: schemas.agentPath,
    status: 200,
    response: schemas.agentResponse,
    handle: async ({ path, fleet, call }) => ({
      agent: agentJson(await fleet.getAgent({ agentId: path.agent_id }, call)),
    }),
  }),
  route({
    method: 'PATCH',
    path: '/agents/{agent_id}',
    operationId: 'updateAgent',
    summary: 'Renames an agent or changes the limits that are named; null lifts one',
    params: schemas.agentPath,
    body: { schema: schemas.updateAgentBody, required: true },
    status: 200,
    response: schemas.agentResponse,
    handle: async ({ path, body: { agent: a }, fleet, call }) => {
      const changed = await fleet.updateAgent(
        { agentId: path.agent_id, name: a.name, ...(a.quotas ? quotasOf(a.quotas) : {}) },
        call,
      );
      return { agent: agentJson(changed) };
    },
  }),
  route({
    method: 'DELETE',
    path: '/agents/{agent_id}',
    operationId: 'deleteAgent',
    summary: 'Deletes an agent, with its projects if that is said; its keys stop working at once',
    params: schemas.agentPath,
    query: schemas.deleteAgentQuery,
    status: 200,
    gone: 'agent-not-found',
    response: schemas.agentResponse,
    handle: async ({ path, query, fleet, call }) => ({
      agent: agentJson(
        await fleet.deleteAgent({ agentId: path.agent_id, withProjects: query.with_projects ?? false }, call),
      ),
    }),
  }),
];
