/** Loads as they occur, drawn from a seed. All of them end in idleness. */
import { BYTES_PER_UNIT } from '@coppice/scaling';
import type { SeededRandom } from '../random';
import type { Wants } from './sim-compute';

const LOADED_MS = 300_000;
/** Long enough for what is remembered of the page cache to be forgotten. */
const STEADY_MS = 900_000;
const IDLE_MS = 90_000;

export type TraceKind = (typeof KINDS)[number];
const KINDS = ['idle', 'steady', 'step', 'ramp', 'spikes', 'sawtooth', 'waves'] as const;

export interface Trace {
  readonly kind: TraceKind;
  readonly at: (ms: number) => Wants;
  /** When the load ends, and when the idleness after it. */
  readonly loadedMs: number;
  readonly endMs: number;
}

const IDLE: Wants = { cpus: 0, heldBytes: 0, cacheBytes: 0 };

export function drawTrace(random: SeededRandom): Trace {
  const kind = random.pick(KINDS);
  const peak = random.between(10, 1600) / 100;
  const base = (peak * random.between(0, 50)) / 100;
  const roundMs = random.between(50, 1200) * 100;
  const width = random.between(5, 50) / 100;
  const cacheBytes = random.chance(0.5) ? random.unit() * 6 * BYTES_PER_UNIT : 0;
  const heldPerCpu = random.chance(0.5) ? 2 * random.unit() * BYTES_PER_UNIT : 0;
  const beginsAt = random.between(0, 60_000);
  const loadedMs = kind === 'steady' ? STEADY_MS : LOADED_MS;
  const phase = (ms: number): number => ((ms - beginsAt) % roundMs) / roundMs;
  const shapes: Record<TraceKind, (ms: number) => number> = {
    idle: () => 0,
    steady: () => peak,
    step: (ms) => (ms < loadedMs / 2 ? base : peak),
    ramp: (ms) => base + (peak - base) * Math.min(1, ms / (loadedMs / 2)),
    spikes: (ms) => (phase(ms) < width ? peak : base),
    sawtooth: (ms) => base + (peak - base) * phase(ms),
    waves: (ms) => base + (peak - base) * (0.5 + 0.5 * Math.sin(2 * Math.PI * phase(ms))),
  };
  const shape = shapes[kind];
  const noise = () => 1 + (random.unit() - 0.5) * 0.1;
  return {
    kind,
    loadedMs,
    endMs: loadedMs + IDLE_MS,
    at: (ms) => {
      if (ms < beginsAt || ms >= loadedMs) return IDLE;
      const cpus = shape(ms) * noise();
      return { cpus, heldBytes: cpus * heldPerCpu, cacheBytes };
    },
  };
}
