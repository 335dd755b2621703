import type { AgentNode } from '@coppice/catalog';
import type { NodeId } from '@coppice/vocabulary';

/** The agent with the fewest live computes, passing over those where a start just failed while there are others. */
export function chooseAgent(
  agents: readonly AgentNode[],
  failedOn: ReadonlySet<NodeId>,
): AgentNode | undefined {
  const untried = agents.filter((a) => !failedOn.has(a.id));
  const candidates = untried.length > 0 ? untried : agents;
  return candidates.reduce<AgentNode | undefined>(
    (best, a) => (best === undefined || a.computes < best.computes ? a : best),
    undefined,
  );
}
