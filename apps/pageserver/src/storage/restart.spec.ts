import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileObjectStore, MemoryObjectStore } from '@coppice/object-store';
import { armFailpoint } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { replicationOriginKey, Slru, slruPageKey } from '@coppice/vocabulary';
import { setTransactionStatus } from '@coppice/postgres';
import { importImages } from './import-images';
import { StorageWorld, testTimelineId } from './storage-world';
import type { Timeline } from './timeline';
import type { TimelineFacts } from './timelines';

const TEMPLATE = testTimelineId(1);
const BRANCH = testTimelineId(2);
const START = 1000;

async function importTemplate(world: StorageWorld): Promise<void> {
  const entries = [[slruPageKey(Slru.xact, 0), Buffer.alloc(8192)] as const];
  const { store, attachment, timelines } = world;
  const source = { timeline: TEMPLATE, lsn: START, lastRecordLsn: 900, systemIdentifier: 7n, logicalBlocks: 1, entries };
  await importImages(source, { store, attachment, timelines });
}

/** Applies records 1 to `count`, from where the timeline stands: record n ends at START + 100 n and leaves n in its key. */
function apply(timeline: Timeline, count: number): void {
  for (let n = (timeline.finished.lsn - START) / 100 + 1; n <= count; n += 1) {
    const endLsn = START + 100 * n;
    timeline.put(replicationOriginKey(n % 10), endLsn, { kind: 'image', bytes: Buffer.from(`${n}`) });
    timeline.put(slruPageKey(Slru.xact, 0), endLsn, setTransactionStatus({ xids: [n], status: 1 }));
    timeline.resize(1);
    timeline.finishRecord({ lsn: endLsn - 100, endLsn });
  }
}

async function expectUpTo(world: StorageWorld, timeline: Timeline, count: number): Promise<void> {
  for (const n of [1, Math.floor(count / 2), count]) {
    const [value] = await world.reader.values(timeline, [replicationOriginKey(n % 10)], START + 100 * n);
    expect(value?.toString()).toBe(`${n}`);
    const [page] = await world.reader.pages(timeline, [slruPageKey(Slru.xact, 0)], START + 100 * n);
    const committed = Array.from({ length: count + 1 }, (_, xid) => xid).filter((xid) => ((page![xid >> 2]! >> ((xid & 3) * 2)) & 3) === 1);
    expect(committed).toEqual(Array.from({ length: n }, (_, i) => i + 1));
  }
}

describe('a pageserver that dies', () => {
  let directory: string;
  let world: StorageWorld;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cps-'));
    const facts = new Map<TimelineId, TimelineFacts>([[BRANCH, { ancestor: { timeline: TEMPLATE, lsn: START }, systemIdentifier: 7n }]]);
    world = new StorageWorld({ store: await FileObjectStore.open(directory), facts });
    await importTemplate(world);
  });
  afterEach(async () => {
    await world.attachment.generation();
    await rm(directory, { recursive: true });
  });

  for (const point of ['flush-before-layer', 'flush-before-manifest', 'flush-after-manifest']) {
    it(`at ${point} loses nothing that it called durable, and reads the rest again`, async () => {
      let timeline = await world.timelines.get(BRANCH);
      apply(timeline, 20);
      await world.flush(timeline);
      expect(timeline.durableLsn).toBe(START + 2000);
      apply(timeline, 40);
      const disarm = armFailpoint(point, 'error');
      await expect(world.flush(timeline)).rejects.toThrow(point);
      disarm();
      await expectUpTo(world, timeline, 40);
      expect(timeline.durableLsn).toBe(START + 2000);

      world.restart();
      timeline = await world.timelines.get(BRANCH);
      expect(timeline.finished.lsn).toBe(point === 'flush-after-manifest' ? START + 4000 : START + 2000);
      expect(timeline.sizeChangeBlocks).toBe((timeline.finished.lsn - START) / 100);
      await expectUpTo(world, timeline, (timeline.finished.lsn - START) / 100);
      apply(timeline, 60);
      await world.flush(timeline);
      world.restart();
      await expectUpTo(world, await world.timelines.get(BRANCH), 60);
    });

    it(`at ${point} without dying writes the same again`, async () => {
      const timeline = await world.timelines.get(BRANCH);
      apply(timeline, 20);
      const disarm = armFailpoint(point, 'error');
      await expect(world.flush(timeline)).rejects.toThrow(point);
      disarm();
      await world.flush(timeline);
      expect(timeline.durableLsn).toBe(START + 2000);
      expect(timeline.isIdle).toBe(true);
      world.restart();
      await expectUpTo(world, await world.timelines.get(BRANCH), 20);
    });
  }

  it('in a merge keeps the layers that the merge was of', async () => {
    const timeline = await world.timelines.get(BRANCH);
    for (let n = 10; n <= 60; n += 10) {
      apply(timeline, n);
      await world.flush(timeline);
    }
    const disarm = armFailpoint('compact-before-manifest', 'error');
    await expect(world.compact(timeline)).rejects.toThrow('compact-before-manifest');
    disarm();
    world.restart();
    const again = await world.timelines.get(BRANCH);
    await expectUpTo(world, again, 60);
    expect(again.layers.layers).toHaveLength(6);
    await world.compact(again);
    expect(again.layers.layers).toHaveLength(1);
    await expectUpTo(world, again, 60);
    world.restart();
    const merged = await world.timelines.get(BRANCH);
    expect(merged.layers.layers).toHaveLength(1);
    await expectUpTo(world, merged, 60);
  });

  it('does not list what it wrote in the middle of a record', async () => {
    let timeline = await world.timelines.get(BRANCH);
    apply(timeline, 2);
    await world.flush(timeline);
    apply(timeline, 3);
    timeline.put(replicationOriginKey(1), START + 400, { kind: 'image', bytes: Buffer.from('half') });
    await world.flush(timeline);
    timeline.put(replicationOriginKey(2), START + 400, { kind: 'image', bytes: Buffer.from('half') });
    await world.flush(timeline);
    expect(timeline.durableLsn).toBe(START + 200);
    world.restart();
    timeline = await world.timelines.get(BRANCH);
    expect(timeline.finished.lsn).toBe(START + 200);
    const [value] = await world.reader.values(timeline, [replicationOriginKey(1)], START + 400);
    expect(value?.toString()).toBe('1');
    apply(timeline, 3);
    timeline.put(replicationOriginKey(4), START + 400, { kind: 'image', bytes: Buffer.from('half') });
    await world.flush(timeline);
    timeline.finishRecord({ lsn: START + 300, endLsn: START + 400 });
    await world.flush(timeline);
    expect(timeline.durableLsn).toBe(START + 400);
    world.restart();
    timeline = await world.timelines.get(BRANCH);
    const values = await world.reader.values(timeline, [3, 4].map(replicationOriginKey), START + 400);
    expect(values.map(String)).toEqual(['3', 'half']);
  });

  it('and finds a manifest of a newer generation gives way', async () => {
    const old = world;
    const timeline = await old.timelines.get(BRANCH);
    const newer = new StorageWorld({ store: old.store, facts: new Map() });
    newer.restart();
    apply(timeline, 5);
    await old.flush(timeline);
    const taken = await newer.timelines.get(BRANCH);
    apply(taken, 9);
    await newer.flush(taken);
    apply(timeline, 7);
    await old.flush(timeline);
    newer.restart();
    await expectUpTo(newer, await newer.timelines.get(BRANCH), 9);
    const stale = new StorageWorld({ store: old.store, facts: new Map() });
    await expect(stale.timelines.get(BRANCH)).rejects.toMatchObject({ kind: 'Fenced' });
  });
});

describe('a chain of branches', () => {
  it('is not merged while an ancestor is behind after a restart: no image is made of an older page', async () => {
    const child = testTimelineId(3);
    const facts = new Map<TimelineId, TimelineFacts>([
      [BRANCH, { ancestor: { timeline: TEMPLATE, lsn: START }, systemIdentifier: 7n }],
      [child, { ancestor: { timeline: BRANCH, lsn: START + 4000 }, systemIdentifier: 7n }],
    ]);
    const world = new StorageWorld({ store: new MemoryObjectStore(), facts });
    await importTemplate(world);
    apply(await world.timelines.get(BRANCH), 40);
    const before = await world.timelines.get(child);
    for (let n = 50; n <= 100; n += 10) {
      apply(before, n);
      await world.flush(before);
    }
    world.restart();
    const timeline = await world.timelines.get(child);
    await world.compact(timeline);
    expect(timeline.layers.layers).toHaveLength(6);
    apply(await world.timelines.get(BRANCH), 40);
    await world.compact(timeline);
    expect(timeline.layers.layers).toHaveLength(1);
    await expectUpTo(world, timeline, 100);
  });

  it('a hundred deep is read through to the template', async () => {
    const facts = new Map<TimelineId, TimelineFacts>();
    const world = new StorageWorld({ store: new MemoryObjectStore(), facts });
    await importTemplate(world);
    const at = (depth: number): TimelineId => testTimelineId(1 + depth);
    for (let depth = 1; depth <= 100; depth += 1) {
      facts.set(at(depth), { ancestor: { timeline: at(depth - 1), lsn: START + 100 * (depth - 1) }, systemIdentifier: 7n });
      const timeline = await world.timelines.get(at(depth));
      apply(timeline, depth);
      if (depth % 3 !== 0) await world.flush(timeline);
    }
    const deepest = await world.timelines.get(at(100));
    await expectUpTo(world, deepest, 100);
    const values: string[] = [];
    for await (const [, value] of world.reader.scan(deepest, { from: replicationOriginKey(0), to: replicationOriginKey(100) }, START + 10_000)) values.push(value.toString());
    expect(values).toEqual(['100', '91', '92', '93', '94', '95', '96', '97', '98', '99']);
  });

  it('that nobody uses leaves memory and comes back whole', async () => {
    let now = 0;
    const facts = new Map<TimelineId, TimelineFacts>([[BRANCH, { ancestor: { timeline: TEMPLATE, lsn: START }, systemIdentifier: 7n }]]);
    const world = new StorageWorld({ store: new MemoryObjectStore(), facts, clock: { now: () => now, monotonic: () => now, sleep: async () => undefined } });
    await importTemplate(world);
    const timeline = await world.timelines.get(BRANCH);
    apply(timeline, 10);
    now = 1_000_000;
    world.timelines.evictIdle();
    expect([...world.timelines.loaded]).toHaveLength(2);
    await world.flush(timeline);
    world.timelines.evictIdle();
    expect(world.timelines.peek(BRANCH)).toBeUndefined();
    world.timelines.evictIdle();
    expect([...world.timelines.loaded]).toHaveLength(0);
    await expectUpTo(world, await world.timelines.get(BRANCH), 10);
  });

  it('that was loaded, written and put away while another load was under way does not come back as it was', async () => {
    let now = 0;
    const child = testTimelineId(3);
    const facts = new Map<TimelineId, TimelineFacts>([
      [BRANCH, { ancestor: { timeline: TEMPLATE, lsn: START }, systemIdentifier: 7n }],
      [child, { ancestor: { timeline: BRANCH, lsn: START + 500 }, systemIdentifier: 7n }],
    ]);
    const store = new MemoryObjectStore();
    const world = new StorageWorld({ store, facts, clock: { now: () => now, monotonic: () => now, sleep: async () => undefined } });
    await importTemplate(world);
    const evict = (): void => {
      now += 1_000_000;
      for (let depth = 0; depth < 3; depth += 1) world.timelines.evictIdle();
      expect([...world.timelines.loaded]).toHaveLength(0);
    };
    evict();
    // The first load has read what there is of the branch, and waits for the template's manifest.
    const get = store.get.bind(store);
    let goOn = (): void => undefined;
    const slow = new Promise<void>((resolve) => (goOn = resolve));
    let loading: Promise<Timeline> | undefined;
    await new Promise<void>((waits) => {
      store.get = async (key, signal) => {
        store.get = get;
        waits();
        await slow;
        return get(key, signal);
      };
      loading = world.timelines.get(child);
    });
    const timeline = await world.timelines.get(BRANCH);
    apply(timeline, 10);
    await world.flush(timeline);
    evict();
    goOn();
    expect((await loading!).ancestor!.timeline.durableLsn).toBe(START + 1000);
  });
});
