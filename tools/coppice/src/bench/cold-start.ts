import { computeAgentContract } from '@coppice/contracts';
import { addressOf, sql, stackIdentities, startPostgres, withClient } from '@coppice/testing';
import type { Stack, TestPostgres } from '@coppice/testing';
import type { Figure } from './figures';
import { median, percentile } from './figures';

const STARTS = 100;
const BASELINE_STARTS = 10;
/** Starts of the databases that are compared by their size. */
const SIZED_STARTS = 20;
const FEW_TABLES = 10;
const MANY_TABLES = 10_000;
/** A database of 1 GB, by rows of 1 kB. */
const LARGE_ROWS = 1_000_000;
const TABLES_PER_TRANSACTION = 250;
const QUERY = 'select count(*) from pg_class';
/** Reads as much of a large catalog as of a small one, so that what grows is the start. */
const SIZED_QUERY = `select relname from pg_class where oid = 'pg_class'::regclass`;

/**
 * Connect through the proxy to the first row, compute at zero; beside a bare `postgres` on a full local directory. Then the
 * same for databases with few tables, with many and of 1 GB: no step may grow with either.
 */
export async function benchColdStart(stack: Stack): Promise<Figure[]> {
  const empty = await database(stack, 'bench-cold-start');
  const { times, phases } = await coldStarts(stack, empty, STARTS);
  const baseline = await bareStarts(BASELINE_STARTS);
  const p50 = median(times);
  const figure = (name: string, value: number, more: Partial<Figure> = {}): Figure => ({
    bench: 'cold-start',
    name,
    value,
    unit: 'ms',
    ...more,
  });
  return [
    figure('p50', p50, { baseline, target: { atMost: 100 } }),
    figure('p99', percentile(times, 99), { target: { atMost: 250 } }),
    figure('against bare postgres', p50 / baseline, { unit: '×', target: { atMost: 2.5 } }),
    ...[...phases].map(([name, values]) => figure(`phase ${name} p50`, median(values))),
    ...(await benchSizes(stack, figure)),
  ];
}

/** Starts of the three take turns, so that what else the machine does weighs on all of them alike. */
async function benchSizes(
  stack: Stack,
  figure: (name: string, value: number, more?: Partial<Figure>) => Figure,
): Promise<Figure[]> {
  const sized = [
    { name: `p50 with ${FEW_TABLES} tables`, sql: tables(FEW_TABLES) },
    { name: `p50 with ${MANY_TABLES} tables`, sql: tables(MANY_TABLES) },
    {
      name: 'p50 with 1 GB',
      sql: [
        `create table large as select i, repeat('x', 980) as filler from generate_series(1, ${LARGE_ROWS}) i`,
      ],
    },
  ];
  const databases = [];
  for (const { name, sql: statements } of sized) {
    const made = await database(stack, 'bench-cold-start-sized');
    await sql(made.uri, ...statements);
    await made.suspend();
    databases.push({ name, made, statements, times: [] as number[] });
  }
  for (let i = 0; i <= SIZED_STARTS; i += 1)
    for (const { made, times } of databases)
      times.push(
        ...(await coldStarts(stack, made, i === 0 ? 0 : 1, { warmUps: i === 0 ? 1 : 0, query: SIZED_QUERY }))
          .times,
      );
  const few = median(databases[0]!.times);
  const figures: Figure[] = [];
  for (const { name, statements, times } of databases) {
    const p50 = median(times);
    figures.push(
      figure(name, p50, { baseline: await bareStarts(BASELINE_STARTS, { statements, query: SIZED_QUERY }) }),
    );
    if (times !== databases[0]!.times)
      figures.push(figure(`${name}, against few tables`, p50 / few, { unit: '×', target: { atMost: 1.1 } }));
  }
  return figures;
}

function tables(count: number): string[] {
  const statements: string[] = [];
  for (let from = 0; from < count; from += TABLES_PER_TRANSACTION) {
    const until = Math.min(count, from + TABLES_PER_TRANSACTION) - 1;
    statements.push(
      `do $$ begin for i in ${from}..${until} loop execute format('create table t%s (id int primary key, note text)', i); end loop; end $$`,
    );
  }
  return statements;
}

interface ColdDatabase {
  readonly uri: string;
  suspend(): Promise<unknown>;
}

async function database(stack: Stack, name: string): Promise<ColdDatabase> {
  const made = await stack.ask('POST', '/projects', { project: { name } });
  const suspend = (): Promise<unknown> =>
    stack.ask('POST', `/projects/${made.project.id}/endpoints/${made.endpoints[0].id}/suspend`);
  return { uri: made.connection_uris[0].connection_uri, suspend };
}

/** After `warmUps` starts that do not count. */
async function coldStarts(
  stack: Stack,
  { uri, suspend }: ColdDatabase,
  starts: number,
  { warmUps = 1, query = QUERY } = {},
): Promise<{ times: number[]; phases: Map<string, number[]> }> {
  const agent = stackIdentities(stack).everyone(computeAgentContract, addressOf(stack, 'agent'));
  const times: number[] = [];
  const phases = new Map<string, number[]>();
  try {
    for (let i = -warmUps; i < starts; i += 1) {
      const before = await firstRowSeconds(stack);
      const from = performance.now();
      await withClient(uri, (c) => c.query(query));
      if (i >= 0) times.push(performance.now() - from);
      const observed = (await firstRowSeconds(stack)) - before;
      const computes = (await agent.listComputes({})).computes.filter(
        ({ state }) => i >= 0 && state === 'running',
      );
      const steps = computes.flatMap((compute) => compute.phases);
      if (i >= 0) steps.push({ name: 'first row', milliseconds: observed * 1000 });
      for (const { name, milliseconds } of steps)
        phases.set(name, [...(phases.get(name) ?? []), milliseconds]);
      await suspend();
    }
  } finally {
    agent.close();
  }
  return { times, phases };
}

/** Of all sessions until now whose compute was started for them, as the proxy counts it. */
function firstRowSeconds(stack: Stack): Promise<number> {
  return stack.metric('compute-proxy', 'coppice_proxy_start_phase_seconds_sum{phase="first row"}');
}

/** The median of starts of stock PostgreSQL, with these statements' content. */
async function bareStarts(
  starts: number,
  {
    statements = [],
    query = QUERY,
  }: { readonly statements?: readonly string[]; readonly query?: string } = {},
): Promise<number> {
  const server = await startPostgres({ settings: { fsync: 'off' } });
  try {
    for (const statement of statements) await server.query(statement);
    const times: number[] = [];
    for (let i = 0; i < starts; i += 1) times.push(await bareStart(server, query));
    return median(times);
  } finally {
    await server.dispose();
  }
}

async function bareStart(server: TestPostgres, query: string): Promise<number> {
  await server.stop('fast');
  const from = performance.now();
  await server.start();
  const client = await server.connect();
  await client.query(query);
  const took = performance.now() - from;
  await client.end();
  return took;
}
