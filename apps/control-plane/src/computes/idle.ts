/** Seconds without activity after which a compute is suspended when neither endpoint nor project say otherwise. */
export const DEFAULT_IDLE_SECONDS = 300;
const NEVER = -1;

/** The limit that holds for an endpoint: its own, else its project's, else the default; -1 is never. */
export function idleLimitSeconds(endpoint: number, project: number): number {
  return endpoint || project || DEFAULT_IDLE_SECONDS;
}

/** When a compute last active at `lastActiveMs` is due to be suspended. */
export function idleDueAt(lastActiveMs: number, limitSeconds: number): Date | undefined {
  return limitSeconds === NEVER ? undefined : new Date(lastActiveMs + limitSeconds * 1000);
}

/**
 * A time that an agent tells, when its clock stood at `agentNowMs`, by our clock; milliseconds. Never in the future, which would
 * keep a compute awake.
 */
export function byOurClock(atMs: number, agentNowMs: number | undefined, nowMs: number): number {
  return Math.min(nowMs, atMs + nowMs - (agentNowMs ?? nowMs));
}
