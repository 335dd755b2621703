/** Pooled connections on a real stack, by the connection string that the API gives, with the drivers that people use. */
import { type Json, leave, sharedStack, type Stack } from '@coppice/testing';
import { neon } from '@neondatabase/serverless';
import { Client, Pool } from 'pg';
import postgres from 'postgres';
import { pointDriverAt } from './src/soak/works';

jest.setTimeout(240_000);

let stack: Stack;
let project: Json;
let direct: string;
let pooled: string;

beforeAll(async () => {
  stack = await sharedStack();
  pointDriverAt(stack.file.http);
  project = await stack.ask('POST', '/projects', { project: {} });
  direct = project.connection_uris[0].connection_uri;
  const { database, role } = project.connection_uris[0].connection_parameters;
  const query = new URLSearchParams({ database_name: database, role_name: role, pooled: 'true' });
  ({ uri: pooled } = await stack.ask('GET', `/projects/${project.project.id}/connection_uri?${query}`));
});
afterAll(() => stack && leave(stack));

const suspend = (): Promise<Json> =>
  stack.ask('POST', `/projects/${project.project.id}/endpoints/${project.endpoints[0].id}/suspend`);

/** For postgres.js, which reads no `options` from the environment: the endpoint comes with the password. */
function withEndpointInPassword(uri: string): string {
  const url = new URL(uri);
  url.password = `${url.searchParams.get('options')!};${url.password}`;
  url.search = '';
  return url.toString();
}

it('serves many clients with few servers, through a suspend that none of them notices', async () => {
  expect(pooled).toContain('-pooler');
  const pool = new Pool({ connectionString: pooled, max: 20 });
  const lost: unknown[] = [];
  pool.on('error', (error) => lost.push(error));
  const sql = postgres(withEndpointInPassword(pooled), { max: 10, onnotice: () => undefined });
  try {
    await pool.query('create table kept (n int primary key)');
    const work = (n: number): Promise<unknown>[] => [
      pool.query({ name: 'add', text: 'insert into kept values ($1)', values: [2 * n] }),
      sql`insert into kept values (${2 * n + 1})`,
    ];
    await Promise.all(Array.from({ length: 30 }, (_, n) => work(n)).flat());
    const counted =
      await sql`select count(*)::int as n, count(distinct pg_backend_pid())::int as b from kept`;
    expect(counted[0]).toMatchObject({ n: 60 });

    await suspend();
    await Promise.all(Array.from({ length: 30 }, (_, n) => work(30 + n)).flat());
    expect((await pool.query('select count(*)::int as n from kept')).rows).toEqual([{ n: 120 }]);
    expect((await sql`select count(*)::int as n from kept`)[0]).toEqual({ n: 120 });

    // Queries that meet a suspend are answered by the compute before it or by the one after it.
    const count = 'select count(*)::int as n from kept';
    const http = neon(direct);
    for (let round = 0; round < 5; round += 1) {
      let isOver = false;
      const stopping = suspend().finally(() => (isOver = true));
      for (let n = 0; n < 20 || !isOver; n += 1) {
        const [one, two, three] = await Promise.all([
          pool.query(count),
          sql.unsafe(count),
          http.query(count),
        ]);
        expect([one.rows, [...two], three]).toEqual([[{ n: 120 }], [{ n: 120 }], [{ n: 120 }]]);
      }
      await stopping;
    }
    expect(lost).toEqual([]);
  } finally {
    await sql.end();
    await pool.end();
  }
});

it('leaves direct connections as they are, beside pooled ones', async () => {
  const [one, two] = [new Client(direct), new Client(pooled)];
  await Promise.all([one.connect(), two.connect()]);
  await one.query("set work_mem = '9MB'");
  expect((await one.query('show work_mem')).rows).toEqual([{ work_mem: '9MB' }]);
  await two.query("set work_mem = '9MB'");
  expect((await two.query('show work_mem')).rows).toEqual([{ work_mem: '4MB' }]);
  await Promise.all([one.end(), two.end()]);
});
