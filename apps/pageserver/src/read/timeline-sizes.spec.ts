import { manifestObjectKey } from '@coppice/layers';
import { MemoryObjectStore } from '@coppice/object-store';
import { silentLog } from '@coppice/service-kit';
import type { Generation, TimelineId } from '@coppice/vocabulary';
import { lsn, relationSizeKey } from '@coppice/vocabulary';
import { encodeRelationSize } from '@coppice/postgres';
import { importImages } from '../storage/import-images';
import { StorageWorld, testTimelineId } from '../storage/storage-world';
import { applyRecords, endOfRecord, START } from '../storage/testing/small-history';
import type { TimelineFacts } from '../storage/timelines';
import { timelineSizes } from './timeline-sizes';

const TEMPLATE = testTimelineId(1);
const BRANCH = testTimelineId(2);
const CHILD = testTimelineId(3);
const LATER_CHILD = testTimelineId(4);
const BLOCK = 8192;

describe('sizes of timelines', () => {
  let world: StorageWorld;
  beforeEach(async () => {
    const facts = new Map<TimelineId, TimelineFacts>([
      [BRANCH, { ancestor: { timeline: TEMPLATE, lsn: START }, systemIdentifier: 7n }],
      [CHILD, { ancestor: { timeline: BRANCH, lsn: endOfRecord(10) }, systemIdentifier: 7n }],
      [LATER_CHILD, { ancestor: { timeline: BRANCH, lsn: endOfRecord(20) }, systemIdentifier: 7n }],
    ]);
    world = new StorageWorld({ store: new MemoryObjectStore(), facts });
    const entries = [1, 2].map((relation) => [relationSizeKey({ tablespace: 1663, database: 5, relation, fork: 0 }), encodeRelationSize(50)] as const);
    const { store, attachment, timelines } = world;
    await importImages({ timeline: TEMPLATE, lsn: START, lastRecordLsn: 900, systemIdentifier: 7n, logicalBlocks: 100, entries }, { store, attachment, timelines });
  });

  const sizes = (...ids: TimelineId[]): ReturnType<typeof timelineSizes> => timelineSizes(ids, { ...world, store: world.store, log: silentLog() });

  it('are the same in memory and in object storage', async () => {
    const timeline = await world.timelines.get(BRANCH);
    applyRecords(timeline, 7);
    expect(await world.logicalSizes.of(timeline)).toEqual({ bytes: 107 * BLOCK, isEstimate: false });
    await world.flush(timeline);
    const inMemory = await sizes(BRANCH, TEMPLATE);
    expect(inMemory).toMatchObject([
      { timelineId: BRANCH, state: 'known', ingestedLsn: lsn(endOfRecord(7)), logicalSizeBytes: 107 * BLOCK, logicalSizeIsEstimate: false, writtenWalBytes: 700, growthBytes: 7 * BLOCK },
      { timelineId: TEMPLATE, state: 'known', logicalSizeBytes: 100 * BLOCK, writtenWalBytes: 0, growthBytes: 100 * BLOCK },
    ]);
    const { objects } = await world.store.list({ prefix: `timelines/${BRANCH}/delta` });
    expect(inMemory[0]!.ownBytes).toBe(objects.reduce((sum, { size }) => sum + size, 0));
    world.restart();
    expect(await sizes(BRANCH, TEMPLATE)).toEqual(inMemory);
    expect([...world.timelines.loaded]).toEqual([]);
  });

  it('mark what is unknown, deleted or unreadable, and give the others', async () => {
    const timeline = await world.timelines.get(BRANCH);
    applyRecords(timeline, 3);
    await world.flush(timeline);
    await world.store.put(manifestObjectKey(testTimelineId(50), 1 as Generation), Buffer.from('rubbish that is no manifest'));
    await world.delete(testTimelineId(51));
    world.restart();
    const found = await sizes(CHILD, testTimelineId(50), BRANCH, testTimelineId(51));
    expect(found.map(({ state }) => state)).toEqual(['unknown', 'unreadable', 'known', 'deleted']);
  });

  it('keep nothing of an ancestor that is behind its branch point', async () => {
    const parent = await world.timelines.get(BRANCH);
    applyRecords(parent, 10);
    await world.flush(parent);
    world.restart();
    const child = await world.timelines.get(LATER_CHILD);
    expect((await world.logicalSizes.of(child)).isEstimate).toBe(true);
    expect((await sizes(LATER_CHILD))[0]).toMatchObject({ logicalSizeIsEstimate: true });
    const again = await world.timelines.get(BRANCH);
    await world.logicalSizes.of(again);
    applyRecords(again, 20);
    expect(await world.logicalSizes.of(child)).toEqual({ bytes: 120 * BLOCK, isEstimate: false });
    applyRecords(again, 25);
    expect(await world.logicalSizes.of(child)).toEqual({ bytes: 120 * BLOCK, isEstimate: false });
  });

  it('know a branch at the head of its parent without a look through its relations', async () => {
    const parent = await world.timelines.get(BRANCH);
    applyRecords(parent, 10);
    await world.logicalSizes.of(parent);
    const child = await world.timelines.get(CHILD);
    expect(world.logicalSizes.now(child)).toEqual({ bytes: 110 * BLOCK, isEstimate: false });
  });
});
