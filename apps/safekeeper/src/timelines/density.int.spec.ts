/** What a fleet of sleeping timelines and of tombstones costs a safekeeper. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Membership, ProposerMessage } from '@coppice/consensus';
import { silentLog, systemClock } from '@coppice/service-kit';
import { FULL } from '@coppice/testing';
import { lsn, term, type Generation, type NodeId, type TimelineId } from '@coppice/vocabulary';
import { syntheticWal, SYSTEM_ID } from '../testing/synthetic-wal';
import { Timelines } from './timelines';

const COUNT = FULL ? 1000 : 250;
const TOMBSTONES = 4 * COUNT;
const START = lsn(0x1005358n);
const NODE = 'sk1' as NodeId;
const MEMBERSHIP: Membership = { generation: 1, members: [NODE] };

setFlagsFromString('--expose_gc');
const gc = runInNewContext('gc') as () => void;

async function memory(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    gc();
    await systemClock.sleep(20);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function idOf(n: number): TimelineId {
  return (((n * 2654435761) % 2 ** 32).toString(16).padStart(8, '0') +
    n.toString(16).padStart(24, '0')) as TimelineId;
}

function diskOf(path: string): number {
  return Number(/^\d+/.exec(execFileSync('du', ['-sk', path], { encoding: 'utf8' }))![0]) * 1024;
}

it('timelines that sleep leave memory, and tombstones are cheap', async () => {
  const data = mkdtempSync(join(tmpdir(), 'csk-'));
  try {
    const timelines = new Timelines({
      node: NODE,
      data,
      maxLoaded: 4000,
      idleMs: 0,
      clock: systemClock,
      log: silentLog(),
    });
    const before = await memory();
    const wal = syntheticWal(START, 3, 1);
    const end = wal.ends.at(-1)!;
    const common = { generation: 1, term: term(1), proposer: 'p1' };
    for (let n = 0; n < COUNT; n++) {
      const identity = { timeline: idOf(n), startLsn: START, systemId: SYSTEM_ID, pgVersion: 17 };
      const greeting = { kind: 'greeting', ...identity, proposer: 'p1', membership: MEMBERSHIP } as const;
      const history = [
        { term: term(0), lsn: START },
        { term: term(1), lsn: START },
      ];
      const messages: ProposerMessage[] = [
        greeting,
        { kind: 'vote-request', ...common },
        { kind: 'elected', ...common, continueAt: START, history },
        {
          kind: 'append',
          ...common,
          begin: START,
          end,
          bytes: wal.bytes,
          commitLsn: end,
          truncateLsn: START,
        },
      ];
      const timeline = timelines.greet(greeting);
      for (const message of messages) timeline.receive({ message, answer: () => undefined });
      await timeline.drained();
      timeline.reportPageserver({ generation: 1 as Generation, ingestedLsn: end, durableLsn: end });
    }
    const loadedBytes = ((await memory()) - before) / COUNT;
    await timelines.tidy();
    const asleepBytes = ((await memory()) - before) / COUNT;
    const diskBytes = diskOf(join(data, 'timelines')) / COUNT;

    const time = async (work: () => Promise<unknown> | void): Promise<number> => {
      const start = systemClock.monotonic();
      await work();
      return systemClock.monotonic() - start;
    };
    const deleteMs =
      (await time(() => {
        for (let n = 0; n < TOMBSTONES; n++) timelines.delete(idOf(n));
      })) / TOMBSTONES;
    const tombstoneBytes = diskOf(join(data, 'deleted')) / TOMBSTONES;
    const startMs = await time(async () => {
      const again = new Timelines({
        node: NODE,
        data,
        maxLoaded: 4000,
        idleMs: 0,
        clock: systemClock,
        log: silentLog(),
      });
      for await (const advances of again.changedSince(0)) expect(advances).toEqual([]);
    });
    const pageMs = await time(() => timelines.list({ after: '80', limit: 1000 }));
    expect(existsSync(join(data, 'timelines', idOf(0).slice(0, 2), idOf(0)))).toBe(false);
    const figures = { loadedBytes, asleepBytes, diskBytes, tombstoneBytes, deleteMs, startMs, pageMs };
    process.stdout.write(
      `safekeeper, per timeline: ${JSON.stringify(figures, (_, v: unknown) => (typeof v === 'number' ? Math.round(v * 1000) / 1000 : v))}\n`,
    );
    expect(asleepBytes).toBeLessThan(1000);
    // 256 files have a block each, however few they hold.
    expect(tombstoneBytes * TOMBSTONES - 257 * 4096).toBeLessThan(TOMBSTONES * 40);
    expect(startMs).toBeLessThan(2000);
  } finally {
    rmSync(data, { recursive: true });
  }
}, 180_000);
