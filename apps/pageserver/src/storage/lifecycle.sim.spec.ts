/**
 * Random histories of one tree of timelines under two pageservers, of which the older does not know that it is replaced:
 * writing, flushing, merging, sweeping and deleting, each of which may fail in the middle. The claims: a timeline that is
 * deleted never serves again, and one that is not loses nothing that was called durable.
 */
import { MemoryObjectStore } from '@coppice/object-store';
import { armFailpoint, CoppiceError, systemClock } from '@coppice/service-kit';
import type { Clock } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { compactTimeline } from '../maintenance/compact-timeline';
import { flushTimeline } from './flush';
import { StorageWorld, testTimelineId } from './storage-world';
import { applyRecords, endOfRecord, importSmall, readRecord, START } from './testing/small-history';
import type { Timeline } from './timeline';
import type { TimelineFacts } from './timelines';

const SEEDS = Number(process.env['COPPICE_SIM_SEEDS'] ?? 150);
const STEPS = 60;
const HOUR = 3_600_000;
const TEMPLATE = testTimelineId(1);
/** Each starts on the one before, at a record of it; the first on the template. */
const CHAIN = [2, 3, 4, 5].map(testTimelineId);
const BRANCH_RECORD = 5;
const FAILPOINTS = [
  'flush-before-layer',
  'flush-before-manifest',
  'flush-after-manifest',
  'compact-before-manifest',
  'delete-before-tombstone',
  'delete-after-tombstone',
  'delete-after-layers',
  'delete-before-manifests',
  'sweep-after-manifest',
  'sweep-before-delete',
];

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Server = Pick<StorageWorld, 'timelines' | 'attachment' | 'layers' | 'reader' | 'logicalSizes'>;

async function run(seed: number): Promise<void> {
  const random = randomOf(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  let hours = 0;
  const clock: Clock = { ...systemClock, now: () => 1e12 + hours * HOUR, monotonic: () => 1e6 + hours * HOUR };
  const facts = new Map<TimelineId, TimelineFacts>(
    CHAIN.map((id, i) => [id, { ancestor: { timeline: CHAIN[i - 1] ?? TEMPLATE, lsn: i === 0 ? START : endOfRecord(BRANCH_RECORD * i) }, systemIdentifier: 7n }]),
  );
  const world = new StorageWorld({ store: new MemoryObjectStore(clock), facts, clock });
  await importSmall(world, TEMPLATE);
  const deleted = new Set<TimelineId>();
  /** Records of each that the newest pageserver called durable. */
  const durable = new Map<TimelineId, number>();
  let stale: Server | undefined;
  let isStale = false;

  const failing = async (work: () => Promise<unknown>): Promise<boolean> => {
    const disarm = random() < 0.3 ? armFailpoint(pick(FAILPOINTS), 'error') : undefined;
    try {
      await work();
      return true;
    } catch (error) {
      const isExpected = error instanceof CoppiceError ? error.kind !== 'Corrupt' && error.kind !== 'Internal' : String(error).includes('failpoint');
      if (!isExpected) throw error;
      return false;
    } finally {
      disarm?.();
    }
  };
  const recordsOf = (timeline: Timeline): number => (timeline.finished.lsn - START) / 100;
  const write = async (on: Server, id: TimelineId): Promise<void> => {
    const timeline = await on.timelines.get(id);
    // Ingest reads through whole ancestors only.
    const { ancestor } = timeline;
    if (ancestor && ancestor.timeline.finished.lsn < ancestor.lsn) applyRecords(ancestor.timeline, (ancestor.lsn - START) / 100);
    applyRecords(timeline, recordsOf(timeline) + 1 + Math.floor(random() * 6));
  };
  const flush = async (on: Server, id: TimelineId): Promise<void> => {
    const timeline = await on.timelines.get(id);
    timeline.freeze();
    await flushTimeline(timeline, { store: world.store, attachment: on.attachment });
    // Safekeepers believe the newest only.
    if (!isStale && timeline.isOwned) durable.set(id, (timeline.durableLsn - START) / 100);
  };
  const compact = async (on: Server, id: TimelineId): Promise<void> => {
    const timeline = await on.timelines.get(id);
    await compactTimeline(timeline, { ...on, store: world.store, clock }, new AbortController().signal);
  };
  const asStale = async (work: () => Promise<unknown>): Promise<void> => {
    if (!stale) return;
    const { timelines, attachment, layers, reader, logicalSizes } = world;
    Object.assign(world, stale);
    isStale = true;
    try {
      await failing(work);
    } finally {
      Object.assign(world, { timelines, attachment, layers, reader, logicalSizes });
      isStale = false;
    }
  };
  const check = async (): Promise<void> => {
    for (const id of CHAIN) {
      const timeline = await world.timelines.get(id).catch((error: CoppiceError) => error);
      if (deleted.has(id)) {
        expect(timeline).toMatchObject({ code: 'timeline-deleted' });
        continue;
      }
      // A tombstone may be there although its deletion failed before the answer.
      if (timeline instanceof CoppiceError) {
        expect(timeline.code).toBe('timeline-deleted');
        deleted.add(id);
        continue;
      }
      const known = durable.get(id) ?? 0;
      expect(recordsOf(timeline)).toBeGreaterThanOrEqual(known);
      for (let n = (timeline.startLsn - START) / 100 + 1; n <= known; n += 1) expect(await readRecord(world, timeline, n)).toBe(`${id} ${n}`);
    }
  };

  for (let step = 0; step < STEPS; step += 1) {
    const id = pick(CHAIN);
    const what = random();
    if (what < 0.3) await failing(() => write(world, id));
    else if (what < 0.5) await failing(() => flush(world, id));
    else if (what < 0.6) await failing(() => compact(world, id));
    else if (what < 0.68) {
      const isDone = await failing(() => world.delete(id));
      if (isDone) deleted.add(id);
    } else if (what < 0.76) {
      hours += random() < 0.5 ? 3 : 0;
      await failing(() => world.sweep());
    } else if (what < 0.82) {
      const { timelines, attachment, layers, reader, logicalSizes } = world;
      await attachment.generation();
      if (random() < 0.5) stale = { timelines, attachment, layers, reader, logicalSizes };
      world.restart();
      await world.attachment.generation();
      await check();
    } else if (what < 0.88) await asStale(() => write(world, id));
    else if (what < 0.94) await asStale(() => flush(world, id));
    else if (what < 0.96) await asStale(() => compact(world, id));
    else if (what < 0.98) await asStale(() => world.sweep());
    else await asStale(() => world.delete(id));
    hours += random();
  }
  world.restart();
  await check();
  await world.sweep();
  await check();
}

describe('timelines that are written, merged, swept and deleted', () => {
  it('never serve again once deleted, and lose nothing while they are not', async () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      try {
        await run(seed);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).stack}`, { cause: error });
      }
    }
  }, 120_000);
});
