import { layerObjectKey, manifestObjectKey, tombstoneObjectKey } from '@coppice/layers';
import { listAll, MemoryObjectStore } from '@coppice/object-store';
import { armFailpoint, systemClock } from '@coppice/service-kit';
import type { Clock } from '@coppice/service-kit';
import type { Generation, TimelineId } from '@coppice/vocabulary';
import { flushTimeline } from '../storage/flush';
import { StorageWorld, testTimelineId } from '../storage/storage-world';
import { applyRecords, importSmall, readRecord, START } from '../storage/testing/small-history';
import type { TimelineFacts } from '../storage/timelines';
import { compactTimeline } from './compact-timeline';

const TEMPLATE = testTimelineId(1);
const BRANCH = testTimelineId(2);
const HOUR = 3_600_000;

describe('a sweep of orphaned objects', () => {
  let world: StorageWorld;
  let hours: number;
  beforeEach(async () => {
    hours = 0;
    const clock: Clock = { ...systemClock, now: () => systemClock.now() + hours * HOUR, monotonic: () => systemClock.monotonic() + hours * HOUR };
    const facts = new Map<TimelineId, TimelineFacts>([[BRANCH, { ancestor: { timeline: TEMPLATE, lsn: START }, systemIdentifier: 7n }]]);
    world = new StorageWorld({ store: new MemoryObjectStore(clock), facts, clock });
    await importSmall(world, TEMPLATE);
  });

  async function keys(): Promise<string[]> {
    const found: string[] = [];
    for await (const { key } of listAll(world.store, `timelines/${BRANCH}/`)) found.push(key);
    return found;
  }

  async function writeInParts(parts: number): Promise<void> {
    const timeline = await world.timelines.get(BRANCH);
    for (let part = 1; part <= parts; part += 1) {
      applyRecords(timeline, part * 10);
      await world.flush(timeline);
    }
  }

  async function expectReadable(upTo: number): Promise<void> {
    const timeline = await world.timelines.get(BRANCH);
    expect(timeline.finished.lsn).toBe(START + upTo * 100);
    for (const n of [1, 5, upTo]) expect(await readRecord(world, timeline, n)).toBe(`${BRANCH} ${n}`);
  }

  it('finds nothing where nothing is left over, and removes no current object', async () => {
    await writeInParts(3);
    hours = 100;
    const before = await keys();
    expect(await world.sweep()).toEqual([]);
    world.restart();
    expect(await world.sweep()).toEqual([]);
    expect(await keys()).toEqual(before);
    await expectReadable(30);
  });

  it('removes what a merge replaced, once no read can use it', async () => {
    await writeInParts(5);
    const timeline = await world.timelines.get(BRANCH);
    const replaced = timeline.layers.layers.map((layer) => layerObjectKey(BRANCH, layer)).sort();
    hours = 5;
    await world.compact(timeline);
    expect(timeline.layers.layers).toHaveLength(1);
    expect(await world.sweep()).toEqual([]);
    hours = 6;
    const planned = await world.sweep({ dryRun: true });
    expect(planned.map(({ name }) => name).sort()).toEqual(replaced);
    expect(planned.every(({ removed, why, bytes }) => !removed && why === 'superseded-layer' && bytes > 0)).toBe(true);
    expect(await keys()).toEqual(expect.arrayContaining(replaced));
    expect((await world.sweep()).map(({ name, removed }) => removed && name).sort()).toEqual(replaced);
    expect(await keys()).not.toEqual(expect.arrayContaining([replaced[0]]));
    await expectReadable(50);
    world.restart();
    await expectReadable(50);
  });

  it('leaves young objects alone', async () => {
    await writeInParts(5);
    await world.compact(await world.timelines.get(BRANCH));
    world.restart();
    expect(await world.sweep({ olderThanMs: 0 })).toEqual([]);
    hours = 3;
    expect(await world.sweep({ olderThanMs: 4 * HOUR })).toEqual([]);
    expect(await world.sweep({ olderThanMs: 2 * HOUR })).toHaveLength(6);
  });

  it('keeps what this process may still write under the same name, and removes it in the next', async () => {
    await writeInParts(2);
    const timeline = await world.timelines.get(BRANCH);
    applyRecords(timeline, 30);
    const disarm = armFailpoint('flush-before-manifest', 'error');
    await expect(world.flush(timeline)).rejects.toThrow();
    hours = 3;
    expect(await world.sweep()).toEqual([]);
    disarm();
    world.restart();
    hours = 6;
    expect(await world.sweep()).toMatchObject([{ why: 'abandoned-layer', removed: true }, { why: 'superseded-manifest', removed: true }]);
    await expectReadable(20);
  });

  it('removes manifests of older generations, and only when its own is there', async () => {
    await writeInParts(1);
    world.restart();
    const timeline = await world.timelines.get(BRANCH);
    applyRecords(timeline, 20);
    await world.flush(timeline);
    world.restart();
    hours = 2;
    const swept = await world.sweep();
    expect(swept.map(({ name }) => name)).toEqual([1, 2].map((generation) => manifestObjectKey(BRANCH, generation as Generation)));
    expect(await keys()).toContain(manifestObjectKey(BRANCH, 3 as Generation));
    await expectReadable(20);
    world.restart();
    await expectReadable(20);
  });

  it('lets an older pageserver that writes on harm nothing', async () => {
    await writeInParts(1);
    const late = await world.timelines.get(BRANCH);
    applyRecords(late, 20);
    const old = { store: world.store, attachment: world.attachment };
    const disarm = armFailpoint('flush-before-manifest', 'error');
    late.freeze();
    await expect(flushTimeline(late, old)).rejects.toThrow();
    disarm();
    world.restart();
    hours = 2;
    expect((await world.sweep()).map(({ why }) => why)).toEqual(['abandoned-layer', 'superseded-manifest']);
    await flushTimeline(late, old);
    await expectReadable(10);
    world.restart();
    await expectReadable(10);
  });

  it('of an older pageserver removes nothing once a newer one has attached', async () => {
    await writeInParts(5);
    const timeline = await world.timelines.get(BRANCH);
    const old = { timelines: world.timelines, attachment: world.attachment };
    const { layers, reader, store } = world;
    world.restart();
    await expectReadable(50);
    await compactTimeline(timeline, { store, attachment: old.attachment, layers, reader }, new AbortController().signal);
    hours = 5;
    const current = { timelines: world.timelines, attachment: world.attachment };
    Object.assign(world, old);
    expect(await world.sweep()).toEqual([]);
    Object.assign(world, current);
    await expectReadable(50);
  });

  for (const point of ['sweep-after-manifest', 'sweep-before-delete']) {
    it(`that dies at ${point} removes nothing and is done again`, async () => {
      await writeInParts(5);
      await world.compact(await world.timelines.get(BRANCH));
      world.restart();
      hours = 2;
      const disarm = armFailpoint(point, 'error');
      expect(await world.sweep()).toEqual([]);
      disarm();
      world.restart();
      await expectReadable(50);
      expect((await world.sweep()).length).toBeGreaterThanOrEqual(5);
      await expectReadable(50);
    });
  }

  it('goes on where a limit ended it', async () => {
    await writeInParts(5);
    await world.compact(await world.timelines.get(BRANCH));
    world.restart();
    hours = 2;
    const swept = await world.sweep({ limit: 2 });
    expect(swept.length).toBe(2);
    let more = 0;
    for (let found = 1; found > 0; more += found) found = (await world.sweep({ limit: 2 })).length;
    expect(swept.length + more).toBeGreaterThanOrEqual(6);
    await expectReadable(50);
  });

  it('forgets a tombstone when no process can know its timeline any more', async () => {
    await writeInParts(1);
    await world.delete(BRANCH);
    hours = 24 * 29;
    expect(await world.sweep()).toEqual([]);
    hours = 24 * 31;
    expect(await world.sweep()).toMatchObject([{ name: tombstoneObjectKey(BRANCH), why: 'old-tombstone', removed: true }]);
    expect(await world.store.head(tombstoneObjectKey(BRANCH))).toBeUndefined();
  });
});
