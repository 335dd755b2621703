/** A history whose every position can be checked: record n ends at START + 100 n and leaves n in its key. */
import type { LsnNumber, TimelineId } from '@coppice/vocabulary';
import { replicationOriginKey, Slru, slruPageKey } from '@coppice/vocabulary';
import { importImages } from '../import-images';
import type { StorageWorld } from '../storage-world';
import type { Timeline } from '../timeline';

export const START = 1000;

export function endOfRecord(n: number): LsnNumber {
  return START + 100 * n;
}

/** A template of one block at START. */
export async function importSmall(world: StorageWorld, timeline: TimelineId, logicalBlocks = 1): Promise<void> {
  const entries = [[slruPageKey(Slru.xact, 0), Buffer.alloc(8192)] as const];
  const { store, attachment, timelines } = world;
  const source = { timeline, lsn: START, lastRecordLsn: 900, systemIdentifier: 7n, logicalBlocks, entries };
  await importImages(source, { store, attachment, timelines });
}

/** Applies records from where the timeline stands up to `count`; each adds a block. */
export function applyRecords(timeline: Timeline, count: number): void {
  for (let n = (timeline.finished.lsn - START) / 100 + 1; n <= count; n += 1) {
    const endLsn = endOfRecord(n);
    timeline.put(replicationOriginKey(n % 10), endLsn, { kind: 'image', bytes: Buffer.from(`${timeline.id} ${n}`) });
    timeline.resize(1);
    timeline.finishRecord({ lsn: endLsn - 100, endLsn });
  }
}

/** What record n left in its key, as of its end. */
export async function readRecord(world: StorageWorld, timeline: Timeline, n: number): Promise<string | undefined> {
  const [value] = await world.reader.values(timeline, [replicationOriginKey(n % 10)], endOfRecord(n));
  return value?.toString();
}
