/** What the choice looks at, and the mark it leaves on timelines that it saw dirty. */
export interface Freezable {
  readonly isDirty: boolean;
  readonly openBytes: number;
  readonly unwrittenBytes: number;
  dirtySinceMs: number;
}

export interface FreezeLimits {
  readonly now: number;
  readonly flushAfterMs: number;
  readonly maxUnwrittenBytes: number;
}

/** Which open layers to end now: those dirty for too long, and the largest while memory is short. */
export function pickFreezes<T extends Freezable>(timelines: readonly T[], { now, flushAfterMs, maxUnwrittenBytes }: FreezeLimits): T[] {
  const picked: T[] = [];
  const others: T[] = [];
  let unwritten = 0;
  for (const timeline of timelines) {
    unwritten += timeline.unwrittenBytes;
    if (!timeline.isDirty) continue;
    if (timeline.dirtySinceMs === 0) timeline.dirtySinceMs = now;
    (now - timeline.dirtySinceMs >= flushAfterMs ? picked : others).push(timeline);
  }
  let excess = unwritten - maxUnwrittenBytes - picked.reduce((sum, t) => sum + t.openBytes, 0);
  if (excess <= 0) return picked;
  for (const timeline of others.sort((a, b) => b.openBytes - a.openBytes)) {
    if (excess <= 0) break;
    picked.push(timeline);
    excess -= timeline.openBytes;
  }
  return picked;
}
