import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manifestPrefix, tombstoneObjectKey } from '@coppice/layers';
import { FileObjectStore, listAll } from '@coppice/object-store';
import { armFailpoint } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { flushTimeline } from '../storage/flush';
import { listTimelines } from '../storage/list-timelines';
import { StorageWorld, testTimelineId } from '../storage/storage-world';
import { applyRecords, endOfRecord, importSmall, readRecord, START } from '../storage/testing/small-history';
import type { TimelineFacts } from '../storage/timelines';

const TEMPLATE = testTimelineId(1);
const BRANCH = testTimelineId(2);
const CHILD = testTimelineId(3);
const DELETED = { kind: 'NotFound', code: 'timeline-deleted' };
const systemIdentifier = 7n;

describe('deleting a timeline', () => {
  let directory: string;
  let world: StorageWorld;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cps-'));
    const facts = new Map<TimelineId, TimelineFacts>([
      [BRANCH, { ancestor: { timeline: TEMPLATE, lsn: START }, systemIdentifier }],
      [CHILD, { ancestor: { timeline: BRANCH, lsn: endOfRecord(10) }, systemIdentifier }],
    ]);
    world = new StorageWorld({ store: await FileObjectStore.open(directory), facts });
    await importSmall(world, TEMPLATE);
  });
  afterEach(async () => {
    await world.attachment.generation();
    await rm(directory, { recursive: true });
  });

  async function write(id: TimelineId, upTo: number): Promise<void> {
    const timeline = await world.timelines.get(id);
    applyRecords(timeline, upTo);
    await world.flush(timeline);
  }

  async function keysOf(prefix: string): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of listAll(world.store, prefix)) keys.push(key);
    return keys;
  }

  async function expectGone(id: TimelineId): Promise<void> {
    await expect(world.timelines.get(id)).rejects.toMatchObject(DELETED);
    expect(await keysOf(`timelines/${id}/`)).toEqual([]);
    expect(await keysOf(`timelines/${TEMPLATE}/child_${id}`)).toEqual([]);
    expect(await world.store.head(tombstoneObjectKey(id))).toMatchObject({ size: 0 });
  }

  it('leaves nothing of it but a tombstone, for this process and the next', async () => {
    await write(BRANCH, 20);
    const { removedObjects, removedBytes } = await world.delete(BRANCH);
    expect(removedObjects).toBe(2);
    expect(removedBytes).toBeGreaterThan(100);
    await expectGone(BRANCH);
    world.restart();
    await expectGone(BRANCH);
    expect(await readdir(join(directory, 'timelines'))).toEqual([TEMPLATE]);
  });

  it('ends waits, and takes no more writes', async () => {
    const timeline = await world.timelines.get(BRANCH);
    applyRecords(timeline, 5);
    const wait = timeline.ingested.waitFor(endOfRecord(9), new AbortController().signal);
    const waited = expect(wait).rejects.toMatchObject(DELETED);
    await world.delete(BRANCH);
    await waited;
    await expect(world.flush(timeline)).rejects.toMatchObject(DELETED);
    await expectGone(BRANCH);
  });

  it('can be done again, and of a timeline that nobody knows', async () => {
    await write(BRANCH, 20);
    await world.delete(BRANCH);
    expect(await world.delete(BRANCH)).toEqual({ removedObjects: 0, removedBytes: 0 });
    await world.delete(testTimelineId(99));
    await expectGone(testTimelineId(99));
    const source = importSmall(world, testTimelineId(99));
    await expect(source).rejects.toMatchObject(DELETED);
  });

  it('is refused while another timeline starts on it, in memory or in object storage', async () => {
    await write(BRANCH, 20);
    await world.timelines.get(CHILD);
    await expect(world.delete(BRANCH)).rejects.toMatchObject({ kind: 'Conflict', code: 'timeline-has-children' });
    await write(CHILD, 30);
    world.restart();
    await expect(world.delete(BRANCH)).rejects.toMatchObject({ code: 'timeline-has-children' });
    expect(await readRecord(world, await world.timelines.get(CHILD), 15)).toBe(`${CHILD} 15`);
    expect(await readRecord(world, await world.timelines.get(BRANCH), 20)).toBe(`${BRANCH} 20`);
    await world.delete(CHILD);
    await world.delete(BRANCH);
    await expectGone(BRANCH);
  });

  it('is not hindered by the name of a child whose own deletion was cut off', async () => {
    await write(BRANCH, 20);
    await write(CHILD, 30);
    const disarm = armFailpoint('delete-after-tombstone', 'error');
    await expect(world.delete(CHILD)).rejects.toThrow('delete-after-tombstone');
    disarm();
    world.restart();
    await world.delete(BRANCH);
    await expectGone(BRANCH);
  });

  for (const point of ['delete-after-tombstone', 'delete-after-layers', 'delete-before-manifests']) {
    for (const how of ['goes on in the same process', 'goes on in the next process', 'is ended by a sweep']) {
      it(`that dies at ${point} ${how}`, async () => {
        await write(BRANCH, 20);
        const disarm = armFailpoint(point, 'error');
        await expect(world.delete(BRANCH)).rejects.toThrow(point);
        disarm();
        if (how !== 'goes on in the same process') {
          world.restart();
          await expect(world.timelines.get(BRANCH)).rejects.toMatchObject(DELETED);
        }
        if (how === 'is ended by a sweep') await world.sweep();
        else await world.delete(BRANCH);
        await expectGone(BRANCH);
      });
    }
  }

  it('that dies before the tombstone leaves the timeline whole', async () => {
    await write(BRANCH, 20);
    const disarm = armFailpoint('delete-before-tombstone', 'error');
    await expect(world.delete(BRANCH)).rejects.toThrow('delete-before-tombstone');
    disarm();
    for (let again = 0; again < 2; again += 1) {
      expect(await readRecord(world, await world.timelines.get(BRANCH), 20)).toBe(`${BRANCH} 20`);
      world.restart();
      await world.attachment.generation();
    }
  });

  it('lasts, whatever an older pageserver still writes of it', async () => {
    const late = await world.timelines.get(BRANCH);
    applyRecords(late, 10);
    const { attachment, store } = world;
    world.restart();
    await world.delete(BRANCH);
    late.freeze();
    await flushTimeline(late, { store, attachment });
    expect(await keysOf(manifestPrefix(BRANCH))).toHaveLength(1);
    await expect(world.timelines.get(BRANCH)).rejects.toMatchObject(DELETED);
    world.restart();
    await expect(world.timelines.get(BRANCH)).rejects.toMatchObject(DELETED);
    const swept = await world.sweep();
    expect(swept.map(({ why }) => why)).toEqual(['deleted-timeline', 'deleted-timeline']);
    await expectGone(BRANCH);
  });

  it('removes nothing once a newer pageserver has attached', async () => {
    await write(BRANCH, 20);
    const old = { timelines: world.timelines, attachment: world.attachment };
    world.restart();
    const newer = await world.timelines.get(BRANCH);
    const current = { timelines: world.timelines, attachment: world.attachment };
    Object.assign(world, old);
    await expect(world.delete(BRANCH)).rejects.toMatchObject({ kind: 'Fenced', code: 'pageserver-fenced' });
    Object.assign(world, current);
    expect(await readRecord(world, newer, 20)).toBe(`${BRANCH} 20`);
    await world.delete(BRANCH);
    await expectGone(BRANCH);
  });

  for (const id of [BRANCH, CHILD]) {
    it(`is not undone by a load of ${id === BRANCH ? 'it' : 'what would start on it'} that began before`, async () => {
      await write(BRANCH, 20);
      world.restart();
      const { store } = world;
      const get = store.get.bind(store);
      let letGo = (): void => undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      let begin = (): void => undefined;
      const began = new Promise<void>((resolve) => (begin = resolve));
      let isFirst = true;
      store.get = async (key, signal) => {
        const bytes = await get(key, signal);
        if (!isFirst) return bytes;
        isFirst = false;
        begin();
        await held;
        return bytes;
      };
      const load = world.timelines.get(id).catch((error: unknown) => error);
      await began;
      await world.delete(BRANCH);
      letGo();
      expect(await load).toMatchObject(DELETED);
      expect([...world.timelines.loaded].map((timeline) => timeline.id)).not.toContain(id);
      await expectGone(BRANCH);
    });
  }
});

describe('a listing of timelines', () => {
  it('gives stored and loaded ones once, in order, page by page', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cps-'));
    try {
      const ids = Array.from({ length: 9 }, (_, i) => testTimelineId(i + 10));
      const facts = new Map(ids.map((id) => [id, { ancestor: { timeline: TEMPLATE, lsn: START }, systemIdentifier }]));
      const world = new StorageWorld({ store: await FileObjectStore.open(directory), facts });
      await importSmall(world, TEMPLATE);
      for (const [i, id] of ids.entries()) {
        const timeline = await world.timelines.get(id);
        if (i % 2 > 0) continue;
        applyRecords(timeline, 3);
        await world.flush(timeline);
      }
      for (const limit of [1, 2, 3, 4, 0]) {
        const seen: TimelineId[] = [];
        let cursor = '';
        do {
          const page = await listTimelines({ cursor, limit }, world);
          seen.push(...page.timelineIds);
          cursor = page.nextCursor;
        } while (cursor !== '');
        expect(seen).toEqual([TEMPLATE, ...ids]);
      }
      world.restart();
      expect((await listTimelines({ cursor: '', limit: 0 }, world)).timelineIds).toEqual([TEMPLATE, ...ids.filter((_, i) => i % 2 === 0)]);
      await world.attachment.generation();
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
