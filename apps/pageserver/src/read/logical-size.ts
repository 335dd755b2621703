import { decodeRelationSize } from '@coppice/postgres';
import { BLOCK_SIZE, Fork, KeyKind, relationOfKey } from '@coppice/vocabulary';
import { kindRange } from '../ingest/key-ranges';
import { hasWholeAncestry } from '../storage/has-whole-ancestry';
import { LruCache } from '../storage/lru-cache';
import { recordEnd } from '../storage/record-end';
import type { Timeline } from '../storage/timeline';
import type { TimelineReader } from './timeline-reader';

export interface LogicalSize {
  readonly bytes: number;
  /** Something it is made of is not known yet, or too old. */
  readonly isEstimate: boolean;
}

/** Sizes at branch points: most branches start where others do. */
const CACHE_BYTES = 4 * 1024 * 1024;
const ENTRY_BYTES = 120;

/**
 * What a user sees of a timeline: all main forks of all databases. Changes are counted as they are ingested; what the
 * timeline started with is found out once, and kept in its manifest. That can be known only when every ancestor has
 * ingested what the timeline sees of it: until then the size is an estimate, and nothing of it is kept.
 */
export class LogicalSizes {
  readonly #reader: TimelineReader;
  readonly #atPoints = new LruCache<string, number>(CACHE_BYTES);

  constructor(reader: TimelineReader) {
    this.#reader = reader;
  }

  /** The size, looking through the relations at the branch point where nothing is known of it. */
  async of(timeline: Timeline, signal?: AbortSignal): Promise<LogicalSize> {
    const { ancestor } = timeline;
    if (timeline.logicalBase === undefined && ancestor) {
      const isWhole = hasWholeAncestry(timeline);
      const blocks = (isWhole ? this.#known(timeline) : undefined) ?? (await this.#blocksAt(ancestor, signal));
      if (!isWhole) return sizeOf(timeline, blocks, true);
      this.#atPoints.set(pointOf(ancestor), blocks, ENTRY_BYTES);
      timeline.setLogicalBase(blocks);
    }
    return this.now(timeline);
  }

  /** The size as far as it is known without reading anything. */
  now(timeline: Timeline): LogicalSize {
    if (timeline.logicalBase === undefined && hasWholeAncestry(timeline)) {
      const blocks = this.#known(timeline);
      if (blocks !== undefined) timeline.setLogicalBase(blocks);
    }
    const { logicalBase, ancestor } = timeline;
    if (logicalBase !== undefined) return sizeOf(timeline, logicalBase, false);
    const parent = ancestor?.timeline;
    return sizeOf(timeline, (parent?.logicalBase ?? 0) + (parent?.sizeChangeBlocks ?? 0), true);
  }

  /** Blocks at the branch point, where somebody asked before or the ancestor stands just there. */
  #known({ ancestor }: Timeline): number | undefined {
    if (!ancestor) return 0;
    const { timeline: parent, lsn } = ancestor;
    if (parent.finished.lsn === recordEnd(lsn) && parent.logicalBase !== undefined) return parent.logicalBase + parent.sizeChangeBlocks;
    return this.#atPoints.get(pointOf(ancestor));
  }

  async #blocksAt({ timeline, lsn }: NonNullable<Timeline['ancestor']>, signal: AbortSignal | undefined): Promise<number> {
    const [from, to] = kindRange(KeyKind.relationSize);
    let blocks = 0;
    for await (const [key, value] of this.#reader.scan(timeline, { from, to }, lsn, signal)) {
      if (relationOfKey(key).fork === Fork.main) blocks += decodeRelationSize(value);
    }
    return blocks;
  }
}

function pointOf({ timeline, lsn }: NonNullable<Timeline['ancestor']>): string {
  return `${timeline.serial} ${lsn}`;
}

function sizeOf({ sizeChangeBlocks }: Timeline, base: number, isEstimate: boolean): LogicalSize {
  return { bytes: Math.max(0, base + sizeChangeBlocks) * BLOCK_SIZE, isEstimate };
}
