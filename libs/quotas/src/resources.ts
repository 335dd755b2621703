/** What an agent has a number of. The order is the one in which limits are looked at. */
export const RESOURCES = ['projects', 'branches', 'computes'] as const;
export type Resource = (typeof RESOURCES)[number];

/** How many of each an agent has. */
export type Counts = Readonly<Record<Resource, number>>;
/** How many of some; what is absent is 0. */
export type Amounts = Readonly<Partial<Record<Resource, number>>>;

/** The limits of an agent; what is absent is unlimited. */
export interface AgentLimits {
  readonly projects?: number | undefined;
  readonly branches?: number | undefined;
  /** Running at once. */
  readonly computes?: number | undefined;
  readonly storageBytes?: number | undefined;
  /** Per UTC month, see `computePeriod`. */
  readonly computeSeconds?: number | undefined;
  readonly requestsPerSecond?: number | undefined;
}

export type LimitName = keyof AgentLimits;

export const NO_COUNTS: Counts = { projects: 0, branches: 0, computes: 0 };

/** Amounts of every resource. Amounts that are not whole numbers from 0 are a bug of the caller. */
export function wholeAmounts(amounts: Amounts): Counts {
  const whole = { ...NO_COUNTS };
  for (const resource of RESOURCES) {
    const amount = amounts[resource] ?? 0;
    if (!Number.isSafeInteger(amount) || amount < 0)
      throw new RangeError(`amount ${amount} of ${resource} is not a whole number from 0 to 2^53-1`);
    whole[resource] = amount;
  }
  return whole;
}

export function plus(counts: Counts, amounts: Amounts): Counts {
  return combined(counts, wholeAmounts(amounts), (a, b) => a + b);
}

/** Never below 0. */
export function minus(counts: Counts, amounts: Amounts): Counts {
  return combined(counts, wholeAmounts(amounts), (a, b) => Math.max(0, a - b));
}

function combined(a: Counts, b: Counts, by: (a: number, b: number) => number): Counts {
  return {
    projects: by(a.projects, b.projects),
    branches: by(a.branches, b.branches),
    computes: by(a.computes, b.computes),
  };
}
