import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Greeting, Membership, ProposerMessage } from '@coppice/consensus';
import { armFailpoint, silentLog, systemClock } from '@coppice/service-kit';
import { lsn, term, type NodeId, type TimelineId } from '@coppice/vocabulary';
import { timelineDirectory } from '../storage/timeline-storage';
import { syntheticWal, SYSTEM_ID } from '../testing/synthetic-wal';
import { Timelines } from './timelines';

const START = lsn(0x1005358n);
const NODE = 'sk1' as NodeId;
const MEMBERSHIP: Membership = { generation: 1, members: [NODE, 'sk2' as NodeId, 'sk3' as NodeId] };
const WRITTEN = 'ab'.repeat(16) as TimelineId;
const SIBLING = `ab${'00'.repeat(15)}` as TimelineId;
const UNKNOWN = 'cd'.repeat(16) as TimelineId;

let data: string;
let timelines: Timelines;

/** A new process over the same disk. */
function restart(): void {
  timelines = new Timelines({
    node: NODE,
    data,
    maxLoaded: 100,
    idleMs: 0,
    clock: systemClock,
    log: silentLog(),
  });
}

function greeting(timeline: TimelineId): Greeting {
  const identity = { timeline, startLsn: START, systemId: SYSTEM_ID, pgVersion: 17 };
  return { kind: 'greeting', ...identity, proposer: 'p1', membership: MEMBERSHIP };
}

/** A leader of term 1 appends records, which two of three hold. */
async function write(timeline: TimelineId): Promise<void> {
  const opened = timelines.greet(greeting(timeline));
  const wal = syntheticWal(START, 3, 1);
  const generation = MEMBERSHIP.generation;
  const common = { generation, term: term(1), proposer: 'p1' };
  const end = wal.ends.at(-1)!;
  const messages: ProposerMessage[] = [
    greeting(timeline),
    { kind: 'vote-request', ...common },
    {
      kind: 'elected',
      ...common,
      continueAt: START,
      history: [
        { term: term(0), lsn: START },
        { term: term(1), lsn: START },
      ],
    },
    { kind: 'append', ...common, begin: START, end, bytes: wal.bytes, commitLsn: end, truncateLsn: START },
  ];
  const refused: unknown[] = [];
  for (const message of messages) {
    opened.receive({ message, answer: (reply) => reply.kind === 'refused' && refused.push(reply) });
    await opened.drained();
  }
  expect(refused).toEqual([]);
  expect(opened.flushLsn).toBe(wal.ends.at(-1));
}

async function expectDeleted(id: TimelineId): Promise<void> {
  expect(timelines.refusalOf(greeting(id))).toMatchObject({ kind: 'refused', reason: 'deleted' });
  expect(() => timelines.greet(greeting(id))).toThrow(/is deleted/);
  expect(() => timelines.get(id)).toThrow(
    expect.objectContaining({ kind: 'NotFound', code: 'timeline-deleted' }),
  );
  for await (const advances of timelines.changedSince(0))
    expect(advances.map((a) => a.timelineId)).not.toContain(id);
  const listed = await timelines.list({ after: '', limit: 100 });
  expect(listed.find(({ timelineId }) => timelineId === id)).toMatchObject({ deleted: true, commitLsn: 0n });
}

beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'csk-'));
  restart();
});
afterEach(() => rmSync(data, { recursive: true }));

describe('a deleted timeline', () => {
  it('is not said to be done before its tombstone is durable, also when the first try left one that is not', () => {
    const disarm = armFailpoint('safekeeper-tombstone-written', 'error');
    for (let attempt = 0; attempt < 2; attempt++)
      expect(() => timelines.delete(UNKNOWN)).toThrow('tombstone');
    disarm();
    timelines.delete(UNKNOWN);
    restart();
    expect(() => timelines.greet(greeting(UNKNOWN))).toThrow('is deleted');
  });

  it('refuses proposers and readers, now and after a restart, and leaves no file of its own', async () => {
    await write(WRITTEN);
    const user = timelines.get(WRITTEN);
    timelines.delete(WRITTEN);
    expect(user.over.reason).toMatchObject({ code: 'timeline-deleted' });
    await expectDeleted(WRITTEN);
    restart();
    await expectDeleted(WRITTEN);
    expect(existsSync(timelineDirectory(data, WRITTEN))).toBe(false);
    expect(readFileSync(join(data, 'deleted', 'ab'))).toHaveLength(20);
  });

  it('is not made anew when it was never known here', async () => {
    timelines.delete(UNKNOWN);
    restart();
    await expectDeleted(UNKNOWN);
  });

  it('can be deleted again, and leaves the others as they are', async () => {
    await write(WRITTEN);
    await write(SIBLING);
    timelines.delete(WRITTEN);
    timelines.delete(WRITTEN);
    await timelines.tidy();
    restart();
    await expectDeleted(WRITTEN);
    expect(timelines.get(SIBLING).commitLsn).toBeGreaterThan(START);
    expect(timelines.refusalOf(greeting(SIBLING))).toBeUndefined();
    expect(readFileSync(join(data, 'deleted', 'ab'))).toHaveLength(20);
  });

  for (const point of [
    'safekeeper-after-tombstone',
    'safekeeper-wal-removed',
    'safekeeper-control-removed',
  ]) {
    it(`stays deleted when the process ends at ${point}, and what is left of it goes`, async () => {
      await write(WRITTEN);
      const disarm = armFailpoint(point, 'error');
      expect(() => timelines.delete(WRITTEN)).toThrow(point);
      disarm();
      restart();
      await expectDeleted(WRITTEN);
      timelines.delete(WRITTEN);
      expect(existsSync(timelineDirectory(data, WRITTEN))).toBe(false);
      await expectDeleted(WRITTEN);
    });

    it(`has its files removed by the next look at all timelines after ${point}`, async () => {
      await write(WRITTEN);
      const disarm = armFailpoint(point, 'error');
      expect(() => timelines.delete(WRITTEN)).toThrow(point);
      disarm();
      restart();
      for await (const advances of timelines.changedSince(0)) expect(advances).toEqual([]);
      expect(readdirSync(join(data, 'timelines', 'ab'))).toEqual([]);
    });
  }

  it('is as it was when the process ends before the tombstone is there', async () => {
    await write(WRITTEN);
    await timelines.tidy();
    const disarm = armFailpoint('safekeeper-before-tombstone', 'error');
    expect(() => timelines.delete(WRITTEN)).toThrow('before-tombstone');
    disarm();
    restart();
    expect(timelines.get(WRITTEN).commitLsn).toBeGreaterThan(START);
  });
});

describe('the file of tombstones', () => {
  const path = (): string => join(data, 'deleted', 'ab');

  it('is mended where a crash cut its last entry short', async () => {
    timelines.delete(WRITTEN);
    appendFileSync(path(), Buffer.alloc(7, 1));
    expect(timelines.refusalOf(greeting(SIBLING))).toBeUndefined();
    timelines.delete(SIBLING);
    expect(readFileSync(path())).toHaveLength(40);
    restart();
    await expectDeleted(WRITTEN);
    await expectDeleted(SIBLING);
  });

  it('lets nothing new begin when it is damaged', () => {
    timelines.delete(WRITTEN);
    timelines.delete(SIBLING);
    const bytes = readFileSync(path());
    bytes[3]! ^= 1;
    writeFileSync(path(), bytes);
    const other = `ab${'11'.repeat(15)}` as TimelineId;
    expect(() => timelines.refusalOf(greeting(other))).toThrow(
      expect.objectContaining({ code: 'tombstones-damaged' }),
    );
    expect(timelines.refusalOf(greeting(UNKNOWN))).toBeUndefined();
  });
});

describe('a listing', () => {
  it('gives every timeline and tombstone once, in order, page by page', async () => {
    const id = (n: number): TimelineId =>
      `${(n * 37).toString(16).padStart(2, '0')}${'0'.repeat(28)}${n.toString(16).padStart(2, '0')}` as TimelineId;
    const ids = [1, 2, 3, 4, 5].map(id).sort();
    for (const one of ids) await write(one);
    await timelines.tidy();
    timelines.delete(ids[1]!);
    timelines.delete(UNKNOWN);
    const seen: { timelineId: TimelineId; deleted: boolean }[] = [];
    for (let after = ''; ; after = seen.at(-1)!.timelineId) {
      const page = await timelines.list({ after, limit: 2 });
      seen.push(...page);
      if (page.length < 2) break;
    }
    expect(seen.map(({ timelineId }) => timelineId)).toEqual([...ids, UNKNOWN].sort());
    expect(seen.filter(({ deleted }) => deleted).map(({ timelineId }) => timelineId)).toEqual(
      [ids[1], UNKNOWN].sort(),
    );
  });

  it('of what moved leaves out what a pageserver has stored', async () => {
    await write(WRITTEN);
    const { commitLsn } = timelines.get(WRITTEN);
    const told = async (): Promise<TimelineId[]> => {
      const ids: TimelineId[] = [];
      for await (const advances of timelines.changedSince(0)) ids.push(...advances.map((a) => a.timelineId));
      return ids;
    };
    expect(await told()).toEqual([WRITTEN]);
    timelines
      .get(WRITTEN)
      .reportPageserver({ generation: 1 as never, ingestedLsn: commitLsn, durableLsn: commitLsn });
    expect(await told()).toEqual([]);
    timelines.close();
    restart();
    expect(await told()).toEqual([]);
  });
});
