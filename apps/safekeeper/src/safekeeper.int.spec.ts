/** Three real safekeeper processes, real WAL, kill -9. */
import { execFileSync } from 'node:child_process';
import {
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
  closeSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Membership, TimelineIdentity } from '@coppice/consensus';
import {
  recordBoundaryAtOrBefore,
  segmentName,
  segmentStart,
  WAL_PAGE_SIZE,
  WalStreamDecoder,
} from '@coppice/postgres';
import { captureWalBytes, flushWal, startPostgres } from '@coppice/testing';
import { lsn, toLsnNumber, type Lsn, type NodeId, type TimelineId } from '@coppice/vocabulary';
import { timelineDirectory } from './storage/timeline-storage';
import { bundleSafekeeper, SafekeeperProcess } from './testing/safekeeper-process';
import { syntheticWal, SYSTEM_ID, type SyntheticWal } from './testing/synthetic-wal';
import { TestProposer } from './testing/test-proposer';

const START = lsn(0x1000000n + 0x5000n + 0x358n);
const NODES = ['sk1', 'sk2', 'sk3'];
const MEMBERSHIP: Membership = { generation: 1, members: NODES as NodeId[] };
/** A small file system can only be mounted by root. */
const itAsRoot = process.getuid?.() === 0 ? it : it.skip;
let directory: string;
let nextTimeline = 1;
let safekeepers: SafekeeperProcess[];
let identity: TimelineIdentity;
const proposers: TestProposer[] = [];

beforeAll(() => bundleSafekeeper());

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'csk-'));
  safekeepers = NODES.map((node) => new SafekeeperProcess(directory, node));
  await Promise.all(safekeepers.map((safekeeper) => safekeeper.start()));
  const timeline = (nextTimeline++).toString(16).padStart(32, 'a') as TimelineId;
  identity = { timeline, startLsn: START, systemId: SYSTEM_ID, pgVersion: 17 };
});

afterEach(async () => {
  for (const proposer of proposers.splice(0)) proposer.abort();
  await Promise.all(safekeepers.map((safekeeper) => safekeeper.dispose()));
  rmSync(directory, { recursive: true });
});

function propose(who = safekeepers, as = identity): TestProposer {
  const proposer = new TestProposer(as, MEMBERSHIP, who);
  proposers.push(proposer);
  return proposer;
}

/** Elects a proposer and commits synthetic records. */
async function committedLog(
  count: number,
  salt = 1,
  before?: SyntheticWal,
): Promise<{ proposer: TestProposer; wal: SyntheticWal }> {
  const proposer = propose();
  const at = await proposer.elect();
  const wal = syntheticWal(at, count, salt, before?.lastStart);
  await proposer.committed(proposer.append(wal.bytes));
  return { proposer, wal };
}

function status(safekeeper: SafekeeperProcess): Promise<{ term: number; flushLsn: Lsn; commitLsn: Lsn }> {
  return safekeeper.client.getTimelineStatus({ timelineId: identity.timeline });
}

async function read(
  safekeeper: SafekeeperProcess,
  from: Lsn,
  until: Lsn,
  extra: { uncommitted?: boolean; term?: number; ms?: number } = {},
): Promise<Buffer> {
  const { uncommitted = false, term = 0, ms = 10_000 } = extra;
  const request = {
    timelineId: identity.timeline,
    fromLsn: from,
    untilLsn: until,
    uncommitted,
    term: term as never,
  };
  const parts: Buffer[] = [];
  for await (const { wal } of safekeeper.client.readWal(request, { signal: AbortSignal.timeout(ms) }))
    parts.push(wal);
  return Buffer.concat(parts);
}

/** The committed log from the timeline's start to `end`, from whichever safekeeper has heard of it. */
async function readAll(end: Lsn): Promise<Buffer> {
  return Promise.any(safekeepers.map((safekeeper) => read(safekeeper, START, end)));
}

async function eventually(claim: () => Promise<void>): Promise<void> {
  for (let left = 200; ; left--) {
    try {
      return await claim();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function segmentPath(safekeeper: SafekeeperProcess, at: Lsn): string {
  return join(timelineDirectory(safekeeper.data, identity.timeline), segmentName(toLsnNumber(at)));
}

/** Offset of the first byte in which two files differ. */
function firstDifference(a: Buffer, b: Buffer): number | undefined {
  const at = a.findIndex((byte, i) => byte !== b[i]);
  if (at >= 0) return at;
  return a.length === b.length ? undefined : a.length;
}

describe('three safekeepers', () => {
  it("keep PostgreSQL's own WAL and give it back byte for byte", async () => {
    const postgres = await startPostgres();
    try {
      const from = await flushWal(postgres);
      await postgres.query('create table t (id int primary key, body text)');
      for (let i = 0; i < 20; i++)
        await postgres.query(
          `insert into t select g, repeat(md5(g::text), 20) from generate_series(${i * 2000}, ${i * 2000 + 1999}) g`,
        );
      const to = await flushWal(postgres);
      const bytes = await captureWalBytes(postgres, from, to);
      expect(bytes.length).toBeGreaterThan(20_000_000);
      identity = { ...identity, startLsn: lsn(from) };
      const proposer = propose();
      expect(await proposer.elect()).toBe(lsn(from));
      for (let at = 0; at < bytes.length; at += 77_777) proposer.append(bytes.subarray(at, at + 77_777));
      await proposer.committed(lsn(to));
      await proposer.until(() =>
        safekeepers.every(({ node }) => proposer.proposer.acknowledged(node) === lsn(to)),
      );
      await proposer.finish();
      for (const safekeeper of safekeepers)
        expect((await read(safekeeper, lsn(from), lsn(to))).equals(bytes)).toBe(true);
      let records = 0;
      new WalStreamDecoder(from).push(await read(safekeepers[2]!, lsn(from), lsn(to)), () => records++);
      expect(records).toBeGreaterThan(40_000);
    } finally {
      await postgres.dispose();
    }
  });

  it('make a first segment whose page headers lead to the first record', async () => {
    const { proposer, wal } = await committedLog(50);
    await proposer.finish();
    const file = readFileSync(segmentPath(safekeepers[0]!, START));
    expect(file.length).toBe(16 * 1024 * 1024);
    const pageLsn = toLsnNumber(START) - (toLsnNumber(START) % WAL_PAGE_SIZE);
    const page = file.subarray(
      pageLsn - segmentStart(pageLsn),
      pageLsn - segmentStart(pageLsn) + WAL_PAGE_SIZE,
    );
    expect(recordBoundaryAtOrBefore(page, pageLsn, toLsnNumber(wal.ends[0]!) - 1)).toBe(toLsnNumber(START));
    const resolved = await safekeepers[0]!.client.resolveLsn({
      timelineId: identity.timeline,
      lsn: lsn(wal.ends[7]! + 9n),
    });
    expect(resolved.lsn).toBe(wal.ends[7]);
  });

  it('commit with two, and the third catches up after kill -9', async () => {
    const { proposer, wal } = await committedLog(10);
    await safekeepers[2]!.kill9();
    const more = syntheticWal(proposer.end, 2000, 2, wal.lastStart);
    await proposer.committed(proposer.append(more.bytes));
    await safekeepers[2]!.start();
    await proposer.until(() => proposer.proposer.acknowledged('sk3' as NodeId) === proposer.end);
    expect((await status(safekeepers[2]!)).flushLsn).toBe(proposer.end);
  });

  it('commit while one of them hangs, which catches up when it goes on', async () => {
    const { proposer, wal } = await committedLog(10);
    safekeepers[1]!.freeze('SIGSTOP');
    const more = syntheticWal(proposer.end, 3000, 2, wal.lastStart);
    await proposer.committed(proposer.append(more.bytes));
    safekeepers[1]!.freeze('SIGCONT');
    await proposer.until(() => proposer.proposer.acknowledged('sk2' as NodeId) === proposer.end);
  });

  it('keep every acknowledged record under kill -9 of any of them, proposers that die and take over', async () => {
    const kept: Buffer[] = [];
    let lastStart: number | undefined;
    for (let round = 0; round < 8; round++) {
      const proposer = propose();
      const from = await proposer.elect();
      const had = Number(from - START);
      expect(had).toBeGreaterThanOrEqual(kept.reduce((sum, bytes) => sum + bytes.length, 0));
      if (round > 0) {
        proposer.announce();
        const log = await readAll(from);
        expect(log.subarray(0, Buffer.concat(kept).length).equals(Buffer.concat(kept))).toBe(true);
        kept.splice(0, kept.length, log);
        new WalStreamDecoder(toLsnNumber(START)).push(log, (record) => (lastStart = record.lsn));
      }
      const victim = safekeepers[round % 3]!;
      const dying = victim.kill9();
      for (let i = 0; i < 20; i++) {
        const { bytes, ...wal } = syntheticWal(
          proposer.end,
          1 + ((round * 7 + i) % 9),
          round * 100 + i,
          lastStart,
        );
        lastStart = wal.lastStart;
        await proposer.committed(proposer.append(bytes));
        kept.push(bytes);
      }
      // Half of a record and more that nobody waits for.
      const tail = syntheticWal(proposer.end, 3, round * 100 + 99, lastStart).bytes;
      proposer.append(tail.subarray(0, tail.length - 41));
      await dying;
      await victim.start();
      proposer.abort();
    }
  });

  it('let a second proposer take over, and fence the first', async () => {
    const { proposer: first, wal } = await committedLog(10);
    const second = propose();
    expect(await second.elect()).toBe(first.end);
    const lost = syntheticWal(first.end, 1, 3, wal.lastStart);
    first.append(lost.bytes);
    await first.until(() => first.proposer.phase === 'deposed');
    const kept = syntheticWal(second.end, 5, 4, wal.lastStart);
    await second.committed(second.append(kept.bytes));
    second.announce();
    expect(
      (await read(safekeepers[1]!, first.proposer.startLsn!, second.end)).equals(
        Buffer.concat([wal.bytes, kept.bytes]),
      ),
    ).toBe(true);
  });

  it('cut a diverged log at the point of divergence', async () => {
    const { proposer: first, wal } = await committedLog(10);
    await safekeepers[1]!.kill9();
    await safekeepers[2]!.kill9();
    const diverged = syntheticWal(first.end, 300, 5, wal.lastStart);
    const committedEnd = first.end;
    first.append(diverged.bytes);
    await first.until(() => first.proposer.acknowledged('sk1' as NodeId) === first.end);
    first.abort();
    await safekeepers[0]!.kill9();
    await safekeepers[1]!.start();
    await safekeepers[2]!.start();
    const second = propose();
    expect(await second.elect()).toBe(committedEnd);
    const kept = syntheticWal(second.end, 20, 6, wal.lastStart);
    await second.committed(second.append(kept.bytes));
    await safekeepers[0]!.start();
    await second.until(() => second.proposer.acknowledged('sk1' as NodeId) === second.end);
    await second.finish();
    await Promise.all(safekeepers.map((safekeeper) => safekeeper.stop()));
    const [a, b, c] = safekeepers.map((safekeeper) => readFileSync(segmentPath(safekeeper, START)));
    expect([firstDifference(a!, b!), firstDifference(b!, c!)]).toEqual([undefined, undefined]);
  });

  it('never serve what is not committed, but give it to the leader for recovery', async () => {
    const { proposer, wal } = await committedLog(10);
    const { term } = proposer.proposer;
    await safekeepers[1]!.kill9();
    await safekeepers[2]!.kill9();
    const more = syntheticWal(proposer.end, 3, 7, wal.lastStart);
    const committedEnd = proposer.end;
    proposer.append(more.bytes);
    await proposer.until(() => proposer.proposer.acknowledged('sk1' as NodeId) === proposer.end);
    await expect(read(safekeepers[0]!, committedEnd, proposer.end, { ms: 300 })).rejects.toThrow();
    expect((await status(safekeepers[0]!)).commitLsn).toBeLessThanOrEqual(committedEnd);
    expect(
      (await read(safekeepers[0]!, committedEnd, proposer.end, { uncommitted: true, term })).equals(
        more.bytes,
      ),
    ).toBe(true);
    await expect(
      read(safekeepers[0]!, committedEnd, proposer.end, { uncommitted: true, term: term - 1 }),
    ).rejects.toMatchObject({ kind: 'Fenced' });
    await expect(
      read(safekeepers[0]!, committedEnd, proposer.end, { uncommitted: true, term: term + 1 }),
    ).rejects.toMatchObject({ kind: 'NotYet' });
  });

  it('find the end of a log with a torn tail, and wipe what lies behind', async () => {
    const { proposer, wal } = await committedLog(100);
    await proposer.until(() =>
      safekeepers.every(({ node }) => proposer.proposer.acknowledged(node) === proposer.end),
    );
    const end = proposer.end;
    proposer.abort();
    await Promise.all(safekeepers.map((safekeeper) => safekeeper.kill9()));
    const next = syntheticWal(end, 3, 8, wal.lastStart);
    const offset = toLsnNumber(end) - segmentStart(toLsnNumber(end));
    for (const [i, safekeeper] of safekeepers.entries()) {
      const fd = openSync(segmentPath(safekeeper, end), 'r+');
      const torn = Buffer.from(next.bytes);
      if (i === 1) torn.fill(0, 60, 90);
      writeSync(fd, torn, 0, i === 0 ? 61 : torn.length, offset);
      closeSync(fd);
      await safekeeper.start();
    }
    expect((await status(safekeepers[0]!)).flushLsn).toBe(end);
    expect((await status(safekeepers[1]!)).flushLsn).toBe(end);
    expect((await status(safekeepers[2]!)).flushLsn).toBe(next.ends[2]);
    const fd = openSync(segmentPath(safekeepers[1]!, end), 'r');
    const behind = Buffer.alloc(4096);
    readSync(fd, behind, 0, behind.length, offset);
    closeSync(fd);
    expect(behind.equals(Buffer.alloc(4096))).toBe(true);
  });

  it('keep what was acknowledged after a good end, a new start and kill -9', async () => {
    const { proposer, wal } = await committedLog(10);
    await Promise.all(safekeepers.map((safekeeper) => safekeeper.stop()));
    await Promise.all(safekeepers.map((safekeeper) => safekeeper.start()));
    const more = syntheticWal(proposer.end, 10, 9, wal.lastStart);
    await proposer.committed(proposer.append(more.bytes));
    await proposer.until(() =>
      safekeepers.every(({ node }) => proposer.proposer.acknowledged(node) === proposer.end),
    );
    proposer.abort();
    await Promise.all(safekeepers.map((safekeeper) => safekeeper.kill9()));
    await Promise.all(safekeepers.map((safekeeper) => safekeeper.start()));
    for (const safekeeper of safekeepers) expect((await status(safekeeper)).flushLsn).toBe(proposer.end);
  });

  it('refuse to load a log that lost bytes which were durable', async () => {
    const { proposer, wal } = await committedLog(10);
    await proposer.until(() =>
      safekeepers.every(({ node }) => proposer.proposer.acknowledged(node) === proposer.end),
    );
    const before = syntheticWal(proposer.end, 200, 10, wal.lastStart);
    await proposer.committed(proposer.append(before.bytes));
    const later = propose();
    await later.elect();
    await later.until(() => safekeepers.every(({ node }) => later.proposer.acknowledged(node) !== undefined));
    later.abort();
    const safekeeper = safekeepers[0]!;
    await safekeeper.kill9();
    const end = toLsnNumber(later.proposer.startLsn!);
    const fd = openSync(segmentPath(safekeeper, later.proposer.startLsn!), 'r+');
    writeSync(fd, Buffer.alloc(64), 0, 64, end - segmentStart(end) - 64);
    closeSync(fd);
    await safekeeper.start();
    await eventually(() =>
      expect(status(safekeeper)).rejects.toMatchObject({ kind: 'Corrupt', code: 'wal-damaged' }),
    );
  });

  itAsRoot('refuse appends on a full disk, live on, and go on when there is room', async () => {
    const mount = join(directory, 'small');
    execFileSync('mkdir', [mount]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', mount]);
    const small = new SafekeeperProcess(directory, 'sk3s', mount);
    try {
      await safekeepers[2]!.stop();
      const filler = join(mount, 'filler');
      writeFileSync(filler, Buffer.alloc(4_500_000));
      await small.start({ COPPICE_SAFEKEEPER_ID: 'sk3' });
      Object.assign(small, { node: 'sk3' });
      const proposer = propose([safekeepers[0]!, safekeepers[1]!, small]);
      const wal = syntheticWal(await proposer.elect(), 16_000, 11);
      await proposer.committed(proposer.append(wal.bytes));
      await eventually(async () => expect(small.log).toMatch(/wal cannot be stored/));
      expect(small.running).toBe(true);
      rmSync(filler);
      await proposer.until(() => proposer.proposer.acknowledged('sk3' as NodeId) === proposer.end);
    } finally {
      await small.dispose();
      execFileSync('umount', [mount]);
    }
  });

  it('do not bring back a deleted timeline', async () => {
    const { proposer } = await committedLog(10);
    proposer.abort();
    for (const safekeeper of safekeepers)
      await safekeeper.client.deleteTimeline({ timelineId: identity.timeline });
    await expect(propose().elect()).rejects.toThrow(/deleted/);
    await safekeepers[0]!.kill9();
    await safekeepers[0]!.start();
    await expect(propose().elect()).rejects.toThrow(/deleted/);
    expect(() => statSync(segmentPath(safekeepers[0]!, START))).toThrow();
  });

  it('tell watchers what moved, and what had moved before', async () => {
    const { proposer, wal } = await committedLog(10);
    const abort = new AbortController();
    const seen = new Map<string, Lsn>();
    const watching = (async () => {
      for await (const { advances } of safekeepers[0]!.client.watchTimelines(
        { sinceUnixMs: 0 },
        { signal: abort.signal },
      ))
        for (const { timelineId, commitLsn } of advances) seen.set(timelineId, commitLsn);
    })().catch(() => undefined);
    await eventually(async () => expect(seen.has(identity.timeline)).toBe(true));
    await proposer.committed(proposer.append(syntheticWal(proposer.end, 5, 12, wal.lastStart).bytes));
    await proposer.finish();
    await eventually(async () => expect(seen.get(identity.timeline)).toBe(proposer.end));
    abort.abort();
    await watching;
  });
});
