/** Limits of agents between the contract's words and the model. */
import type { Quotas } from '@coppice/contracts';
import type { AgentLimits, LimitName } from '@coppice/quotas';
import { CoppiceError } from '@coppice/service-kit';

/** Limits as requests name them. */
const NAMES: Readonly<Record<string, LimitName>> = {
  projects: 'projects',
  branches: 'branches',
  computes: 'computes',
  storage_bytes: 'storageBytes',
  compute_seconds: 'computeSeconds',
  requests_per_second: 'requestsPerSecond',
};
const MAX_REQUESTS_PER_SECOND = 100_000;

/** Checked limits. */
export function limitsFrom(quotas: Quotas): AgentLimits {
  const rate = quotas.requestsPerSecond;
  if (rate !== undefined && (rate < 1 || rate > MAX_REQUESTS_PER_SECOND))
    throw new CoppiceError('Invalid', 'bad-quota', `requests_per_second is ${rate}`, {
      remedy: `Use 1 to ${MAX_REQUESTS_PER_SECOND}, or leave it out for no limit.`,
    });
  for (const [name, key] of Object.entries(NAMES)) {
    const value = quotas[key];
    if (value !== undefined && value < 0)
      throw new CoppiceError('Invalid', 'bad-quota', `${name} is ${value}`, {
        remedy: 'Use 0 or more, or leave it out for no limit.',
      });
  }
  return { ...quotas };
}

/** `now` with the limits that `set` names taken from `quotas`; one that has no value there becomes unlimited. */
export function changedLimits(
  now: AgentLimits,
  quotas: Quotas | undefined,
  set: readonly string[],
): AgentLimits {
  const wanted = limitsFrom(quotas ?? {});
  const changed: { -readonly [K in LimitName]?: number | undefined } = { ...now };
  for (const name of set) {
    const key = NAMES[name];
    if (!key)
      throw new CoppiceError(
        'Invalid',
        'unknown-quota',
        `there is no quota ${JSON.stringify(name.slice(0, 60))}`,
        {
          remedy: `There are: ${Object.keys(NAMES).join(', ')}.`,
        },
      );
    changed[key] = wanted[key];
  }
  return changed;
}
