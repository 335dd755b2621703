/** `/sql` as the unmodified driver of Neon uses it, and as others might. */
import { request as httpsRequest } from 'node:https';
import { connect as connectHttp2 } from 'node:http2';
import { neon, NeonDbError, neonConfig, Pool } from '@neondatabase/serverless';
import { types } from 'pg';
import { systemClock } from '@coppice/service-kit';
import { firstRows } from '../testing/first-rows';
import { ENDPOINT, HttpWorld } from '../testing/http-world';
import { elementTypeOf, Type } from './builtin-types';

let world: HttpWorld;
let url: string;
beforeAll(async () => {
  world = await HttpWorld.start();
  url = `http://127.0.0.1:${world.port}/sql`;
  neonConfig.fetchEndpoint = url;
  await world.postgres.query('create table t (id int primary key, name text not null)');
});
afterAll(() => world?.stop());

const post: HttpWorld['post'] = (...request) => world.post(...request);

describe('the driver', () => {
  const sql = (options = {}) => neon(world.uri(), options);

  it('gets rows, with values as node-postgres has them', async () => {
    const values = [
      1,
      'two',
      true,
      null,
      1.5,
      new Date(0),
      [1, 2],
      { a: [1] },
      Buffer.from('\xff\0', 'latin1'),
    ];
    const columns =
      '$1::int as i, $2 as t, $3::bool as b, $4::text as n, $5::float8 as f, $6::timestamptz as d, $7::int[] as a, $8::jsonb as j, $9::bytea as y';
    const [row] = await sql().query(`select ${columns}`, values);
    expect(row).toEqual({
      i: 1,
      t: 'two',
      b: true,
      n: null,
      f: 1.5,
      d: new Date(0),
      a: [1, 2],
      j: { a: [1] },
      y: Buffer.from('\xff\0', 'latin1'),
    });
    expect(await sql()`select ${'x'}::text as x, ${2}::int + 1 as y`).toEqual([{ x: 'x', y: 3 }]);
  });

  it('gets full results and rows as arrays', async () => {
    const full = await neon(world.uri(), {
      fullResults: true,
      arrayMode: true,
    })`select oid, relname from pg_class limit 2`;
    expect(full).toMatchObject({ command: 'SELECT', rowCount: 2, rowAsArray: true });
    expect(full.fields[0]).toEqual({
      name: 'oid',
      dataTypeID: 26,
      tableID: 1259,
      columnID: 1,
      dataTypeSize: 4,
      dataTypeModifier: -1,
      format: 'text',
    });
    const insert = await sql({ fullResults: true })`insert into t values (1, 'one'), (2, 'two')`;
    expect(insert).toMatchObject({ command: 'INSERT', rowCount: 2, rows: [], fields: [] });
  });

  it('gets errors with all their fields', async () => {
    const error = await sql()`insert into t values (1, 'again')`.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(NeonDbError);
    expect(error).toMatchObject({
      code: '23505',
      severity: 'ERROR',
      schema: 'public',
      table: 't',
      constraint: 't_pkey',
      detail: 'Key (id)=(1) already exists.',
      routine: '_bt_check_unique',
    });
    await expect(sql().query('selec 1')).rejects.toMatchObject({ code: '42601', position: '1' });
    await expect(sql().query('select 1; select 2')).rejects.toMatchObject({ code: '42601' });
  });

  it('runs a batch as one transaction in the mode asked for', async () => {
    const q = neon(world.uri(), { fullResults: true });
    const [level, readOnly, deferrable] = await q.transaction(
      [q`show transaction_isolation`, q`show transaction_read_only`, q`show transaction_deferrable`],
      { isolationLevel: 'Serializable', readOnly: true, deferrable: true },
    );
    expect([level, readOnly, deferrable].map((r) => Object.values(r!.rows[0]!)[0])).toEqual([
      'serializable',
      'on',
      'on',
    ]);
    await expect(q.transaction([q`delete from t`], { readOnly: true })).rejects.toMatchObject({
      code: '25006',
    });
  });

  it('finds nothing done of a batch that fails, at a statement or at its end', async () => {
    const q = sql();
    const failing = q.transaction([q`insert into t values (10, 'x')`, q`select 1 / 0`, q`select 1`]);
    await expect(failing).rejects.toMatchObject({ code: '22012' });
    await world.postgres.query('create table d (id int unique deferrable initially deferred)');
    const atCommit = q.transaction([q`insert into d values (1)`, q`insert into d values (1)`]);
    await expect(atCommit).rejects.toMatchObject({ code: '23505' });
    expect(await q`select (select count(*) from t where id = 10) + (select count(*) from d) as n`).toEqual([
      { n: '0' },
    ]);
  });

  it('sends the queries of a pool over HTTP when asked to', async () => {
    neonConfig.poolQueryViaFetch = true;
    // It leaves the options out, so that only a name or the password can tell the endpoint.
    const pool = new Pool({ connectionString: world.uri(`endpoint%3D${ENDPOINT}%3Bs3cret`) });
    expect((await pool.query('select $1::int as a', [7])).rows).toEqual([{ a: 7 }]);
    neonConfig.poolQueryViaFetch = false;
    await pool.end();
  });
});

describe('values', () => {
  const select = async (columns: string, headers: Record<string, string> = {}) =>
    (await post({ query: `select ${columns}` }, headers)).json.rows[0];

  it('are JSON where JSON holds them', async () => {
    expect(
      await select(
        "true as b, 1::int2 as s, 2 as i, 3::int8 as l, 1.5::float4 as f, 'NaN'::float8 as nan, 1.10::numeric as n, null as z, json '{\"a\": 1}' as j, array[[1,null],[2,3]] as a",
      ),
    ).toEqual({
      b: true,
      s: 1,
      i: 2,
      l: '3',
      f: 1.5,
      nan: 'NaN',
      n: '1.10',
      z: null,
      j: { a: 1 },
      a: [
        [1, null],
        [2, 3],
      ],
    });
    expect(await select("true as b, '{1,2}'::int[] as a", { 'neon-raw-text-output': 'true' })).toEqual({
      b: 't',
      a: '{1,2}',
    });
  });

  it('of every built-in type are what node-postgres makes of them, or their text', async () => {
    const samples = await world.postgres.query<{ value: string; type: string; oid: number }>(SAMPLES);
    expect(samples.length).toBeGreaterThan(40);
    for (const { value, type, oid } of samples) {
      const quoted = `'${value.replaceAll("'", "''")}'::${type}`;
      const [one, array, matrix] = await select(`${quoted}, array[${quoted}, null], array[[${quoted}]]`, {
        'neon-array-mode': 'true',
      });
      const numeric: readonly number[] = [Type.int2, Type.int4, Type.float4, Type.float8];
      const expected =
        oid === Type.bool || oid === Type.json || oid === Type.jsonb || numeric.includes(oid)
          ? shown(types.getTypeParser(oid)(value), value)
          : value;
      expect([type, one, array, matrix]).toEqual([type, expected, [expected, null], [[expected]]]);
    }
  });

  it('of arrays are told by the oids that PostgreSQL has', async () => {
    const arrays = await world.postgres.query<{ oid: number; element: number; delimiter: string }>(
      `select a.oid::int, e.oid::int as element, e.typdelim as delimiter from pg_type a join pg_type e on e.oid = a.typelem
        where a.typsubscript = 'array_subscript_handler'::regproc and a.typname like E'\\\\_%' and a.oid < 16384
          and a.typnamespace = 'pg_catalog'::regnamespace and e.typtype <> 'c' and e.typname <> 'record'`,
    );
    const shown: readonly number[] = Object.values(Type);
    for (const { oid, element, delimiter } of arrays) {
      const typeId = shown.includes(element) ? element : Type.text;
      expect([oid, elementTypeOf(oid)]).toEqual([oid, { typeId, delimiter }]);
    }
  });
});

/** JSON has no infinities. */
const shown = (parsed: unknown, text: string): unknown =>
  typeof parsed === 'number' && !Number.isFinite(parsed) ? text : parsed;

describe('a request', () => {
  it('may be of any content type, and gets an id and leave for browsers', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'nonsense']) {
      const { status, headers, json } = await post({ query: 'select 1 as a' }, { 'content-type': type });
      expect([status, json.rows]).toEqual([200, [{ a: 1 }]]);
      expect(headers.get('content-type')).toMatch(/^application\/json/);
      expect(headers.get('access-control-allow-origin')).toBe('*');
      expect(headers.get('neon-request-id')).toMatch(
        /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-/,
      );
    }
    const asked = await fetch(url, { method: 'OPTIONS' });
    expect([asked.status, asked.headers.get('allow'), asked.headers.get('access-control-max-age')]).toEqual([
      200,
      'OPTIONS, POST',
      '86400',
    ]);
    expect(asked.headers.get('access-control-allow-headers')).toContain('Neon-Connection-String');
  });

  it('for anything else is not supported', async () => {
    for (const [method, path] of [
      ['GET', '/sql'],
      ['POST', '/'],
      ['PUT', '/sql'],
      ['GET', '/%ff'],
    ] as const) {
      const response = await fetch(`http://127.0.0.1:${world.port}${path}`, { method });
      expect([response.status, await response.json()]).toEqual([400, 'query is not supported']);
    }
  });

  it('has the mode of its transaction told back', async () => {
    const headers = { 'neon-batch-isolation-level': 'RepeatableRead', 'neon-batch-read-only': 'true' };
    const answer = await post({ queries: [{ query: 'select 1', arrayMode: true }] }, headers);
    expect(answer.json.results[0]).toMatchObject({ rows: [[1]], rowAsArray: true });
    expect(answer.headers.get('neon-batch-isolation-level')).toBe('RepeatableRead');
    expect(answer.headers.get('neon-batch-read-only')).toBe('true');
    expect(answer.headers.get('neon-batch-deferrable')).toBeNull();
    expect(await post({ queries: [] })).toMatchObject({ status: 200, json: { results: [] } });
  });

  it('with a wrong password, role, endpoint or token is refused, and wakes nothing', async () => {
    const wakes = world.wakes;
    const as = (uri: string, more = {}) =>
      post({ query: 'select 1' }, { 'neon-connection-string': uri, ...more });
    expect(await as(world.uri('wrong'))).toMatchObject({
      status: 400,
      json: { code: '28P01', message: 'password authentication failed for user "app"', detail: null },
    });
    expect(await as(world.uri('wrong', 'ghost'))).toMatchObject({ status: 400, json: { code: '28P01' } });
    expect(await as(world.uri('s3cret', 'app', 'ep-no-no-1'))).toMatchObject({
      status: 400,
      json: { message: 'endpoint ep-no-no-1 does not exist' },
    });
    expect(await as(world.uri(), { authorization: 'Bearer x.y.z' })).toMatchObject({ status: 400 });
    expect(world.wakes).toBe(wakes);
  });

  it('leaves nothing in its session for the next', async () => {
    const pids = new Set<string>();
    for (let i = 0; i < 5; i += 1) {
      const { json } = await post({
        query: "select pg_backend_pid() as pid, current_setting('work_mem') as m",
      });
      pids.add(json.rows[0].pid);
      expect(json.rows[0].m).toBe('4MB');
      await post({ query: "set work_mem = '9MB'" });
      expect(await post({ query: 'create temp table left_behind (a int)' })).toMatchObject({ status: 200 });
    }
    expect(pids.size).toBeLessThan(5);
    expect((await post({ query: 'begin' })).json.command).toBe('BEGIN');
    // The answer does not wait for the session to be made ready for the next.
    const openTransactions = async (): Promise<number> => {
      const [{ n }] = (await world.postgres.query<{ n: number }>(
        "select count(*)::int as n from pg_stat_activity where state like 'idle in%'",
      )) as [{ n: number }];
      return n;
    };
    const until = systemClock.monotonic() + 2_000;
    while ((await openTransactions()) > 0 && systemClock.monotonic() < until) await systemClock.sleep(10);
    expect(await openTransactions()).toBe(0);
  });

  it('is text in UTF-8, whatever its role has set', async () => {
    await world.postgres.query("alter role app set client_encoding = 'LATIN1'");
    const fresh = { 'neon-connection-string': `${world.uri()}&search_path=public` };
    const asked = { query: "select $1::text as a, length($1) as n, 'ü' as b", params: ['é€'] };
    const answer = await post(asked, fresh);
    await world.postgres.query('alter role app reset client_encoding');
    expect(answer).toMatchObject({ status: 200, json: { rows: [{ a: 'é€', n: 2, b: 'ü' }] } });
  });

  it('wakes again, unseen, a compute that ends its idle sessions', async () => {
    for (let i = 0; i < 10; i += 1) {
      const { json } = await post({ query: 'select pg_backend_pid() as pid' });
      // As a drain does it: while it stands still, the session has not begun the command that is on its way to it.
      const { pid } = json.rows[0];
      process.kill(pid, 'SIGSTOP');
      const next = post({ query: 'select 1 as a' });
      await systemClock.sleep(20);
      process.kill(pid, 'SIGTERM');
      process.kill(pid, 'SIGCONT');
      expect(await next).toMatchObject({ status: 200, json: { rows: [{ a: 1 }] } });
    }
  });

  it('is measured to its first row when a compute was started for it', async () => {
    await world.suspend();
    const before = await firstRows();
    world.isStarted = true;
    for (let n = 0; n < 2; n += 1) expect((await post({ query: 'select 1 as a' })).status).toBe(200);
    world.isStarted = false;
    const { count, seconds } = await firstRows();
    expect(count).toBe(before.count + 1);
    expect(seconds - before.seconds).toBeGreaterThan(0.02);
  });

  it('whose server dies meanwhile is not sent again', async () => {
    const slow = post({ query: 'select pg_sleep(20) /* dies */' });
    await world.running('dies');
    await world.postgres.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(20) /* dies */%' and pid <> pg_backend_pid()",
    );
    expect(await slow).toMatchObject({ status: 400, json: { code: '57P01' } });
  });

  it('is cancelled when its client goes', async () => {
    const away = new AbortController();
    const slow = post({ query: 'select pg_sleep(20) /* goes */' }, {}, away.signal).catch(() => 'gone');
    await world.running('goes');
    away.abort();
    expect(await slow).toBe('gone');
    await world.ended('goes');
  });

  it('ends with its credential', async () => {
    const slow = post({ query: 'select pg_sleep(20) /* revoked */' });
    await world.running('revoked');
    await world.endCredential();
    expect(await slow).toMatchObject({ status: 400, json: { code: '28P01' } });
    await world.ended('revoked');
  });

  it('cannot copy', async () => {
    for (const query of ['copy t from stdin', 'copy (select 1) to stdout'])
      expect(await post({ query })).toMatchObject({ status: 400, json: { code: '0A000' } });
  });

  it('is answered over TLS, by HTTP/1.1 and HTTP/2', async () => {
    const body = JSON.stringify({ query: 'select 1 as a' });
    const headers = { 'neon-connection-string': world.uri() };
    const overHttp1 = await new Promise<string>((resolve, reject) => {
      const sent = httpsRequest(
        `https://127.0.0.1:${world.port}/sql`,
        { method: 'POST', headers, rejectUnauthorized: false },
        (response) => void response.setEncoding('utf8').on('data', resolve),
      );
      sent.on('error', reject).end(body);
    });
    expect(JSON.parse(overHttp1).rows).toEqual([{ a: 1 }]);
    const session = connectHttp2(`https://127.0.0.1:${world.port}`, { rejectUnauthorized: false });
    const stream = session.request({ ':method': 'POST', ':path': '/sql', ...headers });
    let text = '';
    let status: number | undefined;
    stream.on('response', (h) => (status = h[':status'])).setEncoding('utf8');
    stream.on('data', (chunk: string) => (text += chunk)).end(body);
    await new Promise((resolve) => stream.once('end', resolve));
    session.close();
    expect([status, JSON.parse(text).rows]).toEqual([200, [{ a: 1 }]]);
  });
});

/** A value of each built-in type that has one, as PostgreSQL writes it. */
const SAMPLES = `
  with samples(type, given) as (values
    ('bool', 'true'), ('bytea', '\\x00ff22'), ('"char"', 'x'), ('name', 'a b'), ('int8', '-9223372036854775808'), ('int2', '-5'),
    ('int4', '2147483647'), ('text', E'quote " back \\\\ comma , brace } newline \\n null'), ('text', 'NULL'), ('text', ''), ('oid', '4294967295'),
    ('tid', '(1,2)'), ('xid', '7'), ('cid', '7'), ('json', '{"a": [1, "x"], "b": null}'), ('jsonb', '{"b":1,"a":"\\u00e4\\""}'), ('xml', '<a/>'),
    ('point', '(1,2)'), ('lseg', '[(1,2),(3,4)]'), ('path', '((1,2),(3,4))'), ('box', '(3,4),(1,2)'), ('polygon', '((1,2),(3,4))'),
    ('line', '{1,2,3}'), ('cidr', '10.0.0.0/8'), ('float4', '1.5'), ('float8', '1e-07'), ('float8', '-Infinity'), ('float8', '123456789012345680'),
    ('circle', '<(1,2),3>'), ('macaddr8', '08:00:2b:01:02:03:04:05'), ('money', '$1,234.50'), ('macaddr', '08:00:2b:01:02:03'), ('inet', '::1'),
    ('bpchar', 'ab '), ('varchar', 'é€😀'), ('date', '2026-02-28'), ('time', '12:00:00.5'), ('timestamp', '2026-02-28 12:00:00'),
    ('timestamptz', '2026-02-28 12:00:00+00'), ('interval', '1 day 02:03:04'), ('timetz', '12:00:00+02'), ('bit(3)', '101'), ('varbit', '1'),
    ('numeric', '123456789.123456789012345678901'), ('uuid', '00000000-0000-4000-8000-000000000001'), ('pg_lsn', '0/16B3748'),
    ('tsvector', '''a'':1 ''b'''), ('tsquery', '''a'' & ''b'''), ('jsonpath', '$."a"[*]'), ('int4range', '[1,5)'), ('int4multirange', '{[1,5),[7,9)}'),
    ('regclass', 'pg_class'), ('xid8', '99'))
  select given as value, type, type::regtype::oid::int as oid from samples`;
