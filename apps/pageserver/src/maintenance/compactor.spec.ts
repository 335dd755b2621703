import { MemoryObjectStore } from '@coppice/object-store';
import type { PutOptions } from '@coppice/object-store';
import { silentLog, systemClock } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { CHECKPOINT_KEY } from '@coppice/vocabulary';
import { importImages } from '../storage/import-images';
import { StorageWorld, testTimelineId } from '../storage/storage-world';
import type { TimelineFacts } from '../storage/timelines';
import { Compactor } from './compactor';

const TEMPLATE = testTimelineId(1);
const BRANCH = testTimelineId(2);
const START = 1000;

class WatchedStore extends MemoryObjectStore {
  onPut: () => void = () => undefined;

  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void> {
    this.onPut();
    await super.put(key, bytes, options);
  }
}

it('a timeline stays in memory while it is merged, however long that takes', async () => {
  let now = 0;
  const facts = new Map<TimelineId, TimelineFacts>([[BRANCH, { ancestor: { timeline: TEMPLATE, lsn: START }, systemIdentifier: 7n }]]);
  const store = new WatchedStore();
  const world = new StorageWorld({ store, facts, clock: { now: () => now, monotonic: () => now, sleep: async () => undefined } });
  const { attachment, timelines, layers, reader } = world;
  const template = { timeline: TEMPLATE, lsn: START, lastRecordLsn: 900, systemIdentifier: 7n, logicalBlocks: 0 };
  await importImages({ ...template, entries: [[CHECKPOINT_KEY, Buffer.from('0')]] }, { store, attachment, timelines });
  const timeline = await timelines.get(BRANCH);
  for (let n = 1; n <= 6; n += 1) {
    const endLsn = START + 100 * n;
    timeline.put(CHECKPOINT_KEY, endLsn, { kind: 'image', bytes: Buffer.from(`${n}`) });
    timeline.finishRecord({ lsn: endLsn - 100, endLsn });
    await world.flush(timeline);
  }
  const inMemory: boolean[] = [];
  store.onPut = () => {
    now += 1_000_000;
    timelines.evictIdle();
    inMemory.push(timelines.peek(BRANCH) === timeline);
  };
  const compactor = new Compactor({ store, attachment, layers, reader, log: silentLog(), loaded: () => timelines.loaded });
  await compactor.start();
  compactor.nudge();
  while (timeline.layers.layers.length > 1) await systemClock.sleep(2);
  await compactor.stop();
  expect(inMemory).toEqual([true, true]);
  expect(timeline.pins).toBe(0);
});
