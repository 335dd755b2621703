import {
  isCircular,
  multixactOffsetPageOf,
  slruPagePrecedes,
  slruSegmentPrecedes,
  xactPageOf,
} from '@coppice/postgres';
import type { EffectOf, WalRecord } from '@coppice/postgres';
import { Slru, pageKeyFields } from '@coppice/vocabulary';
import type { SlruNumber } from '@coppice/vocabulary';
import { slruSegmentsOf } from './key-ranges';
import type { TimelineIngest } from './timeline-ingest';

/** Removes the segments that are wholly older than the cutoff page. */
export async function truncateSlru(
  ingest: TimelineIngest,
  effect: EffectOf<'truncate-slru'>,
  record: WalRecord,
): Promise<void> {
  const { slru, cutoffPage } = effect;
  if (!isCircular(slru)) throw new TypeError(`SLRU ${slru} has no circular order`);
  const { nextXid, nextMulti } = ingest.checkpoint;
  const newest = slru === Slru.xact ? xactPageOf(nextXid) : multixactOffsetPageOf(nextMulti);
  // PostgreSQL's guard against wraparound: what is in use now must not look old.
  if (slruPagePrecedes(slru, newest, cutoffPage)) return;
  for (const segment of await segmentsOf(ingest, slru, record)) {
    if (slruSegmentPrecedes(slru, segment, cutoffPage)) ingest.slrus.remove(slru, segment);
  }
}

/** Removes a run of segments, which may wrap around the end of the SLRU. */
export async function removeSlruSegments(
  ingest: TimelineIngest,
  effect: EffectOf<'remove-slru-segments'>,
  record: WalRecord,
): Promise<void> {
  const { slru, first, end } = effect;
  const inRun = (segment: number): boolean =>
    first <= end ? segment >= first && segment < end : segment >= first || segment < end;
  for (const segment of await segmentsOf(ingest, slru, record)) {
    if (inRun(segment)) ingest.slrus.remove(slru, segment);
  }
}

async function segmentsOf(ingest: TimelineIngest, slru: SlruNumber, record: WalRecord): Promise<number[]> {
  const [from, to] = slruSegmentsOf(slru);
  const segments: number[] = [];
  for await (const [key] of ingest.target.scan(from, to, record.lsn)) segments.push(pageKeyFields(key).block);
  return segments;
}
