import { CoppiceError } from '@coppice/service-kit';

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
