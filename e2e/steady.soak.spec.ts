/**
 * A fixed load for a long time: what runs for half an hour as it began runs for a month. Memory and open handles of every service
 * stay as they are once they are warm, and answers come as fast in the end as in the beginning, without one error.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { growth, median, partOf, type Sample, Stack } from '@coppice/testing';
import { Load, type Work } from './src/soak/load';
import { ProcessSamples } from './src/soak/processes';
import {
  busyWorks,
  type Clients,
  clientsOf,
  forkWork,
  makeDatabase,
  pointDriverAt,
  wakeWork,
} from './src/soak/works';

const MINUTES = Number(process.env['COPPICE_SOAK_MINUTES'] ?? 30);
const SAMPLE_EVERY_MS = 5_000;
/** Until caches are full and V8 knows how much it needs. */
const WARM_UP_SECONDS = Math.min(300, MINUTES * 12);
/** What a garbage collector leaves for later. */
const MAX_GROWTH_MB = 24;
/** Sessions that are there at one moment and not at the next. */
const MAX_MORE_HANDLES = 6;
/** A slow machine does not keep up with the pace. */
const LEAST_OF_PLAN = 0.25;
const MAX_SLOWER = 2;
/** Of a median, for what else the machine does. */
const NOISE_MS = 25;

jest.setTimeout((MINUTES + 10) * 60_000);

/** Bounds so low that they are reached while it warms up: what grows then grows without one. */
const BOUNDED_SOON = {
  COPPICE_BLOCK_CACHE_MIB: '8',
  COPPICE_PAGE_CACHE_MIB: '8',
  COPPICE_INDEX_CACHE_MIB: '4',
  COPPICE_OPEN_LAYER_MIB: '4',
  COPPICE_TIMELINE_IDLE_MS: '15000',
  COPPICE_SAFEKEEPER_IDLE_MS: '15000',
  COPPICE_RECOVERY_WINDOW_SECONDS: '30',
};

let stack: Stack;
let load: Load;
let works: readonly Work[];
let services: ProcessSamples;
const clients: Clients[] = [];

beforeAll(
  async () => {
    stack = await Stack.start(BOUNDED_SOON);
    pointDriverAt(stack.file.http);
    const busy = await makeDatabase(stack, 'busy');
    const sleepy = await makeDatabase(stack, 'sleepy');
    clients.push(clientsOf(busy), clientsOf(sleepy));
    services = new ProcessSamples(stack);
    works = [...busyWorks(clients[0]!), wakeWork(stack, sleepy, clients[1]!), forkWork(stack, busy)];
    load = new Load(works);
    while (load.seconds < MINUTES * 60) {
      services.take(load.seconds);
      await sleep(SAMPLE_EVERY_MS);
    }
    await load.stop();
    process.stderr.write(figures());
  },
  (MINUTES + 5) * 60_000,
);

afterAll(async () => {
  await Promise.all(clients.map((c) => c.close()));
  await stack?.remove();
});

const warm = (samples: readonly Sample[]): Sample[] => samples.filter(({ at }) => at >= WARM_UP_SECONDS);
const values = (samples: readonly Sample[]): number[] => samples.map(({ value }) => value);

interface Ends {
  readonly first: number;
  readonly last: number;
}

/** The medians of the first and the last third of what came after the warm-up. */
function ends(samples: readonly Sample[]): Ends {
  const third = (index: number): number => median(values(partOf(warm(samples), { index, parts: 3 })));
  return { first: third(0), last: third(2) };
}

const memoryGrowth = (memory: readonly Sample[]): number => growth(partOf(memory, { index: 1, parts: 2 }));

function figures(): string {
  const ofServices = [...services.byService].map(([name, { memory, handles }]) => {
    const [m, h] = [ends(memory), ends(handles)];
    const grew = memoryGrowth(memory).toFixed(1);
    return `  ${name.padEnd(14)} ${m.first.toFixed(0)} → ${m.last.toFixed(0)} MB, second half ${grew} MB; handles ${h.first} → ${h.last}`;
  });
  const ofWorks = [...load.times].map(([kind, times]) => {
    const { first, last } = ends(times);
    return `  ${kind.padEnd(14)} ${times.length} times, median ${first.toFixed(1)} → ${last.toFixed(1)} ms`;
  });
  return ['', `soak of ${MINUTES} minutes`, ...ofServices, ...ofWorks, ''].join('\n');
}

it('answers everything', () => {
  expect(load.errors).toEqual([]);
  expect(clients.map((c) => c.lost())).toEqual([0, 0]);
  const planned = (everyMs: number): number => (MINUTES * 60_000) / everyMs;
  const behind = works.filter(
    ({ kind, everyMs }) => load.times.get(kind)!.length < LEAST_OF_PLAN * planned(everyMs),
  );
  expect(behind.map(({ kind }) => kind)).toEqual([]);
});

it('logs nothing that someone must look at', () => {
  expect(stack.troubledLines()).toEqual([]);
});

it('lets no service take more and more memory', () => {
  const grew = [...services.byService].map(([name, { memory }]) => ({ name, mb: memoryGrowth(memory) }));
  expect(grew.filter(({ mb }) => mb > MAX_GROWTH_MB)).toEqual([]);
});

it('lets no service hold more and more files and sockets', () => {
  const held = [...services.byService].map(([name, { handles }]) => ({ name, ...ends(handles) }));
  expect(held.filter(({ first, last }) => last > first + MAX_MORE_HANDLES)).toEqual([]);
});

it('answers as fast in the end as in the beginning', () => {
  const took = [...load.times].map(([kind, times]) => ({ kind, ...ends(times) }));
  expect(took.filter(({ first, last }) => !(last <= MAX_SLOWER * first + NOISE_MS))).toEqual([]);
});
