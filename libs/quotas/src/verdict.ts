import {
  type AgentLimits,
  type Amounts,
  type Counts,
  type Resource,
  RESOURCES,
  wholeAmounts,
} from './resources';

export interface Exceeded {
  readonly kind: 'exceeded';
  /** The first of `RESOURCES` that does not fit. */
  readonly resource: Resource;
  readonly limit: number;
  readonly used: number;
}

export type Verdict = { readonly kind: 'allowed' } | Exceeded;

/** Whether an agent that has `counts` may have `wants` more. A resource it wants none of never exceeds. */
export function quotaVerdict(counts: Counts, wants: Amounts, limits: AgentLimits): Verdict {
  const wanted = wholeAmounts(wants);
  for (const resource of RESOURCES) {
    const limit = limits[resource];
    if (limit === undefined || wanted[resource] === 0) continue;
    const used = counts[resource];
    if (used + wanted[resource] > limit) return { kind: 'exceeded', resource, limit, used };
  }
  return { kind: 'allowed' };
}
