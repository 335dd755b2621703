import { BYTES_PER_UNIT, type UsageCounters } from '@coppice/scaling';
import { type Clock, silentLog } from '@coppice/service-kit';
import type { SizeInForce } from '../resources/compute-resources';
import { ComputeScaler } from './compute-scaler';

const GIB = 1024 ** 3;

/** A compute whose clients want some CPUs, on a clock that is turned by hand. */
class Bench {
  nowMs = 0;
  wants = 0;
  heldBytes = 0;
  refuses = false;
  readonly sizes: (SizeInForce | undefined)[] = [];
  #cpuSeconds = 0;
  #used = 0;
  readonly scaler: ComputeScaler;

  constructor(min: number, max: number, nodeCpus = 16) {
    const clock: Clock = { now: () => this.nowMs, monotonic: () => this.nowMs, sleep: async () => undefined };
    this.scaler = new ComputeScaler({
      group: {
        add: async () => undefined,
        usage: () => this.#usage(),
        resize: async (size) => {
          if (this.refuses) throw new Error('there is no room');
          this.sizes.push(size);
        },
        discard: () => undefined,
      },
      bounds: { min, max },
      nodeCpus,
      times: { lookEveryMs: 500, downAfterMs: 30_000, freeStartMs: 3_000 },
      clock,
      log: silentLog(),
    });
  }

  get units(): number {
    return this.scaler.size.units;
  }

  /** Time passes, with looks as often as they may come. */
  async pass(ms: number): Promise<void> {
    for (const until = this.nowMs + ms; this.nowMs < until; ) {
      this.nowMs += 500;
      this.scaler.look();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #usage(): UsageCounters {
    const allowed = this.sizes.at(-1)?.cpus ?? Infinity;
    this.#cpuSeconds += (Math.min(this.wants, allowed) * (this.nowMs - this.#used)) / 1000;
    this.#used = this.nowMs;
    const none = { periods: 0, throttledPeriods: 0, throttledSeconds: 0, refaultedBytes: 0 };
    return { ...none, atMs: this.nowMs, cpuSeconds: this.#cpuSeconds, heldBytes: this.heldBytes };
  }
}

describe('a compute that is scaled', () => {
  it('is limited by nothing in its first seconds, and then has the size of what it used in them', async () => {
    const bench = new Bench(0.25, 8);
    bench.wants = 2;
    await bench.pass(2_500);
    expect([bench.sizes, bench.units]).toEqual([[], 3]);
    await bench.pass(500);
    expect(bench.sizes).toEqual([
      { cpus: 3, memory: { soft: 3 * BYTES_PER_UNIT, hard: 8 * BYTES_PER_UNIT } },
    ]);
  });

  it('doubles at each look while it is full, and is told its limits only when they change', async () => {
    const bench = new Bench(0.25, 4);
    await bench.pass(10_000);
    bench.wants = 9;
    await bench.pass(2_500);
    await bench.pass(10_000);
    expect(bench.sizes.map((size) => size!.cpus)).toEqual([0.25, 0.5, 1, 2, 4]);
  });

  it('keeps its size when another one is refused, is charged that, and asks again', async () => {
    const bench = new Bench(1, 4);
    await bench.pass(4_000);
    bench.wants = 9;
    bench.refuses = true;
    const charged = bench.scaler.size.unitSeconds;
    await bench.pass(10_000);
    expect(bench.units).toBe(1);
    expect(bench.scaler.size.unitSeconds - charged).toBeCloseTo(10);
    bench.refuses = false;
    await bench.pass(500);
    expect(bench.units).toBe(2);
  });

  it('gets other bounds at once, and never a limit below what it holds', async () => {
    const bench = new Bench(2, 4);
    bench.wants = 0.1;
    bench.heldBytes = 6 * GIB;
    await bench.pass(4_000);
    await bench.scaler.setBounds({ min: 0.25, max: 0.5 });
    expect(bench.scaler.size).toMatchObject({ units: 0.5, minUnits: 0.25, maxUnits: 0.5 });
    expect(bench.sizes.at(-1)).toEqual({ cpus: 0.5, memory: { soft: 7.5 * GIB, hard: 7.5 * GIB } });
    await bench.scaler.setBounds({ min: 3, max: 4 });
    expect(bench.units).toBe(3);
  });

  it('gets what the node has when that is less than its bounds', async () => {
    const bench = new Bench(4, 8, 2);
    await bench.pass(4_000);
    expect(bench.scaler.size).toMatchObject({ units: 2, minUnits: 4, maxUnits: 8 });
    expect(bench.sizes.map((size) => size!.cpus)).toEqual([2]);
  });

  it('that stops is let go, looked at no more and charged no more', async () => {
    const bench = new Bench(1, 2);
    await bench.pass(4_000);
    await Promise.all([bench.scaler.lift(), bench.scaler.lift()]);
    expect(bench.sizes.at(-1)).toBeUndefined();
    const told = bench.sizes.length;
    bench.wants = 9;
    await bench.pass(4_000);
    await bench.scaler.setBounds({ min: 2, max: 4 });
    expect([bench.sizes.length, bench.scaler.size.unitSeconds]).toEqual([told, 4]);
  });
});
