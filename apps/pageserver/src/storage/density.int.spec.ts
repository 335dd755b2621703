/** What a fleet of sleeping timelines costs a pageserver. Figures are printed; the bounds are several times what they were. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { FileObjectStore } from '@coppice/object-store';
import type { Clock } from '@coppice/service-kit';
import { silentLog, systemClock } from '@coppice/service-kit';
import { FULL } from '@coppice/testing';
import type { TimelineId } from '@coppice/vocabulary';
import { timelineSizes } from '../read/timeline-sizes';
import { listTimelines } from './list-timelines';
import { StorageWorld, testTimelineId } from './storage-world';
import { applyRecords, importSmall, START } from './testing/small-history';
import type { TimelineFacts } from './timelines';

const COUNT = FULL ? 1000 : 400;
const TEMPLATE = testTimelineId(1);

setFlagsFromString('--expose_gc');
const gc = runInNewContext('gc') as () => void;

async function memory(): Promise<number> {
  for (let i = 0; i < 3; i += 1) {
    gc();
    await systemClock.sleep(20);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

it('once-active timelines leave memory, and those that never wrote leave nothing at all', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'cps-'));
  try {
    let idleMs = 0;
    const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + idleMs };
    const ids = Array.from({ length: COUNT }, (_, i) => testTimelineId(i + 100));
    const readOnly = Array.from({ length: COUNT }, (_, i) => testTimelineId(i + 10_000));
    const fact: TimelineFacts = { ancestor: { timeline: TEMPLATE, lsn: START }, systemIdentifier: 7n };
    const facts = new Map<TimelineId, TimelineFacts>([...ids, ...readOnly].map((id) => [id, fact]));
    const world = new StorageWorld({ store: await FileObjectStore.open(directory), facts, clock });
    await importSmall(world, TEMPLATE);
    await world.timelines.get(TEMPLATE);

    const before = await memory();
    for (const id of ids) {
      const timeline = await world.timelines.get(id);
      applyRecords(timeline, 30);
      await world.flush(timeline);
    }
    const active = (await memory()) - before;
    for (const id of readOnly) await world.timelines.get(id);
    const loaded = (await memory()) - before;
    idleMs += 3_600_000;
    world.timelines.evictIdle();
    world.timelines.evictIdle();
    expect([...world.timelines.loaded]).toEqual([]);
    const asleep = (await memory()) - before;

    const folders = await readdir(join(directory, 'timelines'));
    expect(folders).toHaveLength(COUNT + 1);
    const disk = Number(/^\d+/.exec(execFileSync('du', ['-sk', join(directory, 'timelines')], { encoding: 'utf8' }))![0]) * 1024;

    const time = async (work: () => Promise<unknown>): Promise<number> => {
      const start = systemClock.monotonic();
      await work();
      return systemClock.monotonic() - start;
    };
    const asked = ids.slice(0, 500);
    const deps = { store: world.store, timelines: world.timelines, logicalSizes: world.logicalSizes, log: silentLog() };
    const coldMs = (await time(() => timelineSizes(asked, deps))) / 500;
    for (const id of asked) await world.timelines.get(id);
    const warmMs = (await time(() => timelineSizes(asked, deps))) / 500;
    const listMs = await time(() => listTimelines({ cursor: '', limit: 1000 }, world));

    const deleteMs = (await time(async () => {
      for (const id of [...ids.slice(0, 100), ...readOnly.slice(0, 100)]) await world.delete(id);
    })) / 200;
    expect(await readdir(join(directory, 'timelines'))).toHaveLength(COUNT - 100 + 1);

    const figures = {
      activeBytes: active / COUNT,
      readOnlyBytes: (loaded - active) / COUNT,
      asleepBytes: asleep / COUNT,
      diskBytesOfWritten: disk / COUNT,
      coldMs,
      warmMs,
      listMs,
      deleteMs,
    };
    process.stdout.write(`pageserver, per timeline: ${JSON.stringify(figures, (_, v: unknown) => (typeof v === 'number' ? Math.round(v * 1000) / 1000 : v))}\n`);
    // Includes what this process took once, whatever the number of timelines.
    expect(figures.asleepBytes).toBeLessThan(3000);
    expect(figures.activeBytes).toBeLessThan(30_000);
    expect(coldMs).toBeLessThan(20);
    expect(warmMs).toBeLessThan(1);
  } finally {
    await rm(directory, { recursive: true });
  }
}, 180_000);
