/** One look over all services of a stack: O(everything), by pages. */
import { type ListedTimeline, MAX_SIZES_PER_REQUEST, type TimelineRecord } from '@coppice/contracts';
import { asCoppiceError, Semaphore } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { byRanges } from './by-ranges';
import {
  compareComputes,
  compareCounters,
  type ComputeOnMachine,
  compareTimelines,
  shortOfQuorum,
  type TimelineRange,
} from './compare';
import { type Difference, difference } from './difference';
import type { CheckedPeers, Safekeeper } from './peers';

export interface LookedAt {
  readonly peers: CheckedPeers;
  /** What runs on this machine, if the computes do. */
  readonly machine?: () => readonly ComputeOnMachine[];
}

/** How many of each were looked at. */
export type Looked = Record<'timelines' | 'computes' | 'agents', number>;

const PAGE = 1_000;
const AGENTS_PAGE = 200;
/** Of each kind that is without bound by nature; the rest is said by the next check. */
const MOST = 1_000;
const ASKED_AT_ONCE = 8;
/** Younger objects may wait for the reaper's sweep: it comes by every ten minutes and takes what is an hour old. */
const ORPHANED_FOR_MS = 2 * 3_600_000;

/** Everything that differs now. Nothing is changed. */
export async function look(at: LookedAt): Promise<{ readonly found: Difference[]; readonly looked: Looked }> {
  const looked: Looked = { timelines: 0, computes: 0, agents: 0 };
  const parts: readonly (readonly [where: string, look: () => Promise<Difference[]>])[] = [
    ['metadata', () => contradictions(at)],
    ['storage', () => timelines(at, looked)],
    ['computes', () => computes(at, looked)],
    ['counters', () => counters(at, looked)],
    ['object storage', () => orphans(at)],
  ];
  const found: Difference[] = [];
  for (const [where, part] of parts) {
    try {
      for (const d of await part()) found.push(d);
    } catch (error) {
      found.push(difference('no-answer', where, where, asCoppiceError(error).message));
    }
  }
  return { found, looked };
}

async function contradictions({ peers }: LookedAt): Promise<Difference[]> {
  const answer = await peers.control.findContradictions({ limit: MOST });
  return answer.contradictions.map((c) => ({ ...c, where: 'metadata' }));
}

async function timelines({ peers }: LookedAt, looked: Looked): Promise<Difference[]> {
  const { control, pageserver, safekeepers } = peers;
  const found: Difference[] = [];
  const records = {
    pages: pagesAfter(
      async (after) => (await control.listTimelines({ after, limit: PAGE })).timelines,
      (t) => t.timelineId,
      PAGE,
    ),
    idOf: (t: TimelineRecord) => t.timelineId as string,
  };
  const stored = {
    pages: pagesByCursor(async (cursor) => {
      const page = await pageserver.listTimelines({ cursor, limit: PAGE });
      return { items: page.timelineIds, next: page.nextCursor };
    }),
    idOf: (id: TimelineId) => id as string,
  };
  const listed = safekeepers.map(({ client }) => ({
    pages: pagesByCursor(async (cursor) => {
      const page = await client.listTimelines({ cursor, limit: PAGE });
      return { items: page.timelines, next: page.nextCursor };
    }),
    idOf: (t: ListedTimeline) => t.timelineId as string,
  }));
  for await (const [known, ids, ...held] of byRanges<[TimelineRecord, TimelineId, ...ListedTimeline[]]>([
    records,
    stored,
    ...listed,
  ])) {
    looked.timelines += known.length;
    const states = await statesOf(known, peers);
    const range = {
      records: known,
      safekeepers: safekeepers.map(({ name }, n) => ({ name, timelines: held[n] ?? [] })),
      pageserver: { name: 'pageserver', ids, ...states },
    };
    found.push(...compareTimelines(await withExactEnds(range, peers)));
  }
  return found;
}

async function statesOf(known: readonly TimelineRecord[], { pageserver }: CheckedPeers) {
  const deleted: TimelineId[] = [];
  const unreadable: TimelineId[] = [];
  for (let at = 0; at < known.length; at += MAX_SIZES_PER_REQUEST) {
    const timelineIds = known.slice(at, at + MAX_SIZES_PER_REQUEST).map((t) => t.timelineId);
    for (const { timelineId, state } of (await pageserver.getTimelineSizes({ timelineIds })).sizes) {
      if (state === 'deleted') deleted.push(timelineId);
      if (state === 'unreadable') unreadable.push(timelineId);
    }
  }
  return { deleted, unreadable };
}

/** What a listing says of a timeline's end may be a lower bound; where that is too little, the safekeepers are asked. */
async function withExactEnds(range: TimelineRange, peers: CheckedPeers): Promise<TimelineRange> {
  const short = new Set(
    shortOfQuorum(range.records, range.safekeepers).map(({ record }) => record.timelineId),
  );
  if (short.size === 0) return range;
  const permits = new Semaphore(ASKED_AT_ONCE);
  const safekeepers = await Promise.all(
    range.safekeepers.map(async ({ name, timelines: all }, n) => ({
      name,
      timelines: await Promise.all(
        all.map((t) =>
          short.has(t.timelineId) && !t.deleted
            ? permits.run(() => withExactEnd(t, peers.safekeepers[n]!.client))
            : t,
        ),
      ),
    })),
  );
  return { ...range, safekeepers };
}

async function withExactEnd(listed: ListedTimeline, safekeeper: Safekeeper): Promise<ListedTimeline> {
  try {
    const { flushLsn } = await safekeeper.getTimelineStatus({ timelineId: listed.timelineId });
    return { ...listed, flushLsn };
  } catch (error) {
    if (asCoppiceError(error).kind === 'NotFound') return listed;
    throw error;
  }
}

async function computes({ peers, machine }: LookedAt, looked: Looked): Promise<Difference[]> {
  const rows = await all(
    pagesAfter(
      async (after) => (await peers.control.listLiveComputes({ after, limit: PAGE })).computes,
      (c) => c.computeId,
      PAGE,
    ),
  );
  looked.computes += rows.length;
  const found: Difference[] = [];
  const agents = [];
  for (const { nodeId, address } of (await peers.control.listAgentNodes({})).nodes) {
    try {
      const answer = await peers.withAgent(address, (agent) => agent.listComputes({}));
      agents.push({ nodeId, computes: answer.computes });
    } catch (error) {
      found.push(difference('no-answer', nodeId, nodeId, asCoppiceError(error).message));
    }
  }
  return [...found, ...compareComputes({ rows, agents, ...(machine ? { machine: machine() } : {}) })];
}

async function counters({ peers }: LookedAt, looked: Looked): Promise<Difference[]> {
  const found: Difference[] = [];
  const pages = pagesAfter(
    async (after) => (await peers.control.listQuotaCounters({ after, limit: AGENTS_PAGE })).agents,
    (a) => a.agentId,
    AGENTS_PAGE,
  );
  for await (const agents of pages) {
    looked.agents += agents.length;
    found.push(...compareCounters(agents));
  }
  return found;
}

async function orphans({ peers }: LookedAt): Promise<Difference[]> {
  const found: Difference[] = [];
  const pages = pagesByCursor(async (cursor) => {
    const page = await peers.pageserver.sweepOrphanedObjects({
      dryRun: true,
      olderThanMs: ORPHANED_FOR_MS,
      limit: MOST,
      cursor,
    });
    return { items: page.objects, next: page.nextCursor };
  });
  for await (const objects of pages) {
    for (const { name, bytes, why } of objects)
      found.push(difference('object-orphaned', 'object storage', name, `${bytes} bytes, ${why}`));
    if (found.length >= MOST) break;
  }
  return found;
}

/** Pages of a list that goes on after an id. One with fewer than `size` is the last. */
async function* pagesAfter<T>(
  page: (after: string) => Promise<readonly T[]>,
  idOf: (item: T) => string,
  size: number,
): AsyncGenerator<readonly T[]> {
  for (let after = ''; ; ) {
    const items = await page(after);
    if (items.length > 0) yield items;
    if (items.length < size) return;
    after = idOf(items.at(-1)!);
  }
}

/** Pages of a list that goes on at a cursor, empty after the last. */
async function* pagesByCursor<T>(
  page: (cursor: string) => Promise<{ readonly items: readonly T[]; readonly next: string }>,
): AsyncGenerator<readonly T[]> {
  let cursor = '';
  do {
    const { items, next } = await page(cursor);
    if (items.length > 0) yield items;
    cursor = next;
  } while (cursor !== '');
}

async function all<T>(pages: AsyncIterable<readonly T[]>): Promise<T[]> {
  const items: T[] = [];
  for await (const page of pages) items.push(...page);
  return items;
}
