/**
 * Which pages a start will want: those that earlier starts fetched first. Catalog and transaction-status pages are
 * remembered for all descendants of one template, pages of users' relations for their timeline.
 *
 * A remembered page is only advice: it is installed before PostgreSQL starts when it exists at S and comes in time.
 */
import { KeyKind, type PageKey, pageKeyFields, type TimelineId } from '@coppice/vocabulary';

/** First number of relation files that are not of the template's catalogs (`FirstNormalObjectId`). */
const FIRST_USER_RELATION = 16384;
const MAX_KEYS = 384;
const MAX_TIMELINES = 256;
/** One start teaches at most so many: the first pages are wanted again, those of a long scan are not. */
const MAX_LEARNED_PER_START = 256;

export class WarmSets {
  readonly #lineages = new Map<bigint, Set<PageKey>>();
  readonly #timelines = new Map<TimelineId, Set<PageKey>>();

  keysFor(lineage: bigint, timeline: TimelineId): PageKey[] {
    return [...(this.#lineages.get(lineage) ?? []), ...(this.#timelines.get(timeline) ?? [])];
  }

  /** Takes the keys that one start fetches, in order. */
  recorder(lineage: bigint, timeline: TimelineId): (keys: readonly PageKey[]) => void {
    let left = MAX_LEARNED_PER_START;
    return (keys) => {
      for (const key of keys) {
        if (left-- <= 0) return;
        add(isShared(key) ? setOf(this.#lineages, lineage, MAX_TIMELINES) : setOf(this.#timelines, timeline, MAX_TIMELINES), key);
      }
    };
  }
}

function isShared(key: PageKey): boolean {
  const { kind, relation } = pageKeyFields(key);
  return kind !== KeyKind.relationBlock || relation < FIRST_USER_RELATION;
}

/** The owner's set, made the newest; the oldest owner is forgotten when there are too many. */
function setOf<Owner>(owners: Map<Owner, Set<PageKey>>, owner: Owner, most: number): Set<PageKey> {
  const set = owners.get(owner) ?? new Set<PageKey>();
  owners.delete(owner);
  owners.set(owner, set);
  if (owners.size > most) owners.delete(owners.keys().next().value as Owner);
  return set;
}

function add(set: Set<PageKey>, key: PageKey): void {
  set.add(key);
  if (set.size > MAX_KEYS) set.delete(set.values().next().value as PageKey);
}
