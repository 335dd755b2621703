/** The span over which compute seconds are counted: from `startMs` until before `endMs`, Unix milliseconds. */
export interface Period {
  readonly startMs: number;
  readonly endMs: number;
}

/** The UTC month that `nowMs` is in. */
export function computePeriod(nowMs: number): Period {
  const now = new Date(nowMs);
  const [year, month] = [now.getUTCFullYear(), now.getUTCMonth()];
  return { startMs: Date.UTC(year, month), endMs: Date.UTC(year, month + 1) };
}
