/**
 * How much of what is due a sweep may take. Pure.
 *
 * The rate limit is a token bucket that holds a minute's worth. The brake: when more than a set share of all there is falls due
 * at once, the reason is rather a clock that jumped or agents that stopped reporting than age; nothing is ended until that has
 * lasted for a while, so that someone can look, because then it is real. Few are never a reason to brake.
 */
export interface AllowanceLimits {
  readonly perSweep: number;
  readonly perMinute: number;
  readonly brakePercent: number;
  readonly brakeFloor: number;
  readonly brakeHoldMs: number;
}

export interface AllowanceState {
  readonly tokens: number;
  readonly atMs: number;
  /** Since when too many have been due; absent while they are not. */
  readonly brakingSinceMs: number | undefined;
}

export interface Observed {
  readonly due: number;
  /** All that could be due; 0: unknown. */
  readonly population: number;
  readonly nowMs: number;
}

export interface Allowance {
  readonly state: AllowanceState;
  readonly take: number;
  readonly braked: boolean;
}

const MINUTE_MS = 60_000;

export function firstState(limits: AllowanceLimits, nowMs: number): AllowanceState {
  return { tokens: limits.perMinute, atMs: nowMs, brakingSinceMs: undefined };
}

export function allow(
  limits: AllowanceLimits,
  state: AllowanceState,
  { due, population, nowMs }: Observed,
): Allowance {
  const tokens = Math.min(
    limits.perMinute,
    state.tokens + (Math.max(0, nowMs - state.atMs) * limits.perMinute) / MINUTE_MS,
  );
  const share = population === 0 ? 0 : (due * 100) / population;
  const tooMany = due > limits.brakeFloor && share > limits.brakePercent;
  const brakingSinceMs = tooMany ? (state.brakingSinceMs ?? nowMs) : undefined;
  const braked = brakingSinceMs !== undefined && nowMs - brakingSinceMs < limits.brakeHoldMs;
  const take = braked ? 0 : Math.min(due, limits.perSweep, Math.floor(tokens));
  return { state: { tokens: tokens - take, atMs: nowMs, brakingSinceMs }, take, braked };
}
