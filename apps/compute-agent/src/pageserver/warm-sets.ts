/**
 * What a start, or a first look, will want: the pages, and the relations without pages, that earlier starts used. Those of catalogs and
 * transaction status are remembered for all descendants of one template, those of users' relations for their timeline.
 *
 * A remembered key is only advice: what exists of it at S comes with the compute image. One that several starts in a row
 * had no use for is forgotten.
 */
import { KeyKind, type PageKey, pageKeyFields, type TimelineId } from '@coppice/vocabulary';

/** First number of relation files that are not of the template's catalogs (`FirstNormalObjectId`). */
const FIRST_USER_RELATION = 16384;
const MAX_KEYS = 384;
const MAX_TIMELINES = 256;
/** One start teaches at most so many: the first pages are wanted again, those of a long scan are not. */
const MAX_LEARNED_PER_START = 256;
const MAX_UNUSED_IN_A_ROW = 3;

/** Keys, with how many starts in a row had no use for them. */
type WarmSet = Map<PageKey, number>;

export interface WarmSetsSnapshot {
  readonly lineages: readonly (readonly [lineage: string, keys: readonly string[]])[];
  readonly timelines: readonly (readonly [timeline: TimelineId, keys: readonly string[]])[];
}

export class WarmSets {
  readonly #lineages = new Map<bigint, WarmSet>();
  readonly #timelines = new Map<TimelineId, WarmSet>();

  keysFor(lineage: bigint, timeline: TimelineId): PageKey[] {
    return [...(this.#lineages.get(lineage)?.keys() ?? []), ...(this.#timelines.get(timeline)?.keys() ?? [])];
  }

  /** Takes the keys that one start asks for, in order. */
  recorder(lineage: bigint, timeline: TimelineId): (keys: readonly PageKey[]) => void {
    let left = MAX_LEARNED_PER_START;
    return (keys) => {
      for (const key of keys) {
        if (left-- <= 0) return;
        add(this.#ownSet(lineage, timeline, key), key);
      }
    };
  }

  /** Takes what one start was given, and whether it used it. */
  judge(lineage: bigint, timeline: TimelineId, given: Iterable<{ readonly key: PageKey; readonly isUsed: boolean }>): void {
    for (const { key, isUsed } of given) {
      const set = this.#ownSet(lineage, timeline, key);
      const unused = set.get(key);
      if (unused === undefined) continue;
      if (isUsed) set.set(key, 0);
      else if (unused + 1 >= MAX_UNUSED_IN_A_ROW) set.delete(key);
      else set.set(key, unused + 1);
    }
  }

  snapshot(): WarmSetsSnapshot {
    const hex = (set: WarmSet): string[] => [...set.keys()].map((key) => Buffer.from(key, 'latin1').toString('hex'));
    return {
      lineages: [...this.#lineages].map(([lineage, set]) => [lineage.toString(), hex(set)] as const),
      timelines: [...this.#timelines].map(([timeline, set]) => [timeline, hex(set)] as const),
    };
  }

  restore({ lineages, timelines }: WarmSetsSnapshot): void {
    const keys = (hex: readonly string[]): PageKey[] => hex.map((key) => Buffer.from(key, 'hex').toString('latin1') as PageKey);
    for (const [lineage, hex] of lineages) for (const key of keys(hex)) add(setOf(this.#lineages, BigInt(lineage), MAX_TIMELINES), key);
    for (const [timeline, hex] of timelines) for (const key of keys(hex)) add(setOf(this.#timelines, timeline, MAX_TIMELINES), key);
  }

  #ownSet(lineage: bigint, timeline: TimelineId, key: PageKey): WarmSet {
    return isShared(key) ? setOf(this.#lineages, lineage, MAX_TIMELINES) : setOf(this.#timelines, timeline, MAX_TIMELINES);
  }
}

function isShared(key: PageKey): boolean {
  const { kind, relation } = pageKeyFields(key);
  return kind === KeyKind.slruPage || relation < FIRST_USER_RELATION;
}

/** The owner's set, made the newest; the oldest owner is forgotten when there are too many. */
function setOf<Owner>(owners: Map<Owner, WarmSet>, owner: Owner, most: number): WarmSet {
  const set = owners.get(owner) ?? new Map<PageKey, number>();
  owners.delete(owner);
  owners.set(owner, set);
  if (owners.size > most) owners.delete(owners.keys().next().value as Owner);
  return set;
}

function add(set: WarmSet, key: PageKey): void {
  set.set(key, 0);
  if (set.size > MAX_KEYS) set.delete(set.keys().next().value as PageKey);
}
