import { CoppiceError } from '@coppice/service-kit';

const AGENT_ID = /^[a-z0-9-]{1,60}$/;

/** The id of an agent that there may be. Throws `agent-not-found` for what none can be called. */
export function checkAgentId(id: string): string {
  if (AGENT_ID.test(id)) return id;
  throw agentNotFound(id);
}

export function agentNotFound(id: string): CoppiceError {
  return new CoppiceError(
    'NotFound',
    'agent-not-found',
    `agent ${JSON.stringify(id.slice(0, 60))} does not exist`,
    {
      remedy: 'List the agents to see their ids.',
    },
  );
}
