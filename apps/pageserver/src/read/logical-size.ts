import { decodeRelationSize } from '@coppice/postgres';
import { BLOCK_SIZE, Fork, KeyKind, relationOfKey } from '@coppice/vocabulary';
import { kindRange } from '../ingest/key-ranges';
import type { Timeline } from '../storage/timeline';
import type { TimelineReader } from './timeline-reader';

/**
 * What a user sees of a timeline: all main forks of all databases, bytes. Changes are counted as they are ingested; what
 * the timeline started with is found out once, by looking through the relations at the branch point.
 */
export async function logicalSize(timeline: Timeline, reader: TimelineReader, signal?: AbortSignal): Promise<number> {
  if (timeline.logicalBase === undefined) timeline.setLogicalBase(await blocksAtStart(timeline, reader, signal));
  return (timeline.logicalBase! + timeline.sizeChangeBlocks) * BLOCK_SIZE;
}

async function blocksAtStart({ ancestor }: Timeline, reader: TimelineReader, signal: AbortSignal | undefined): Promise<number> {
  if (!ancestor) return 0;
  const [from, to] = kindRange(KeyKind.relationSize);
  let blocks = 0;
  for await (const [key, value] of reader.scan(ancestor.timeline, { from, to }, ancestor.lsn, signal)) {
    if (relationOfKey(key).fork === Fork.main) blocks += decodeRelationSize(value);
  }
  return blocks;
}
