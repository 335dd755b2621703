import type { Client } from 'pg';
import { systemClock } from '@coppice/service-kit';
import { writeMessage } from '@coppice/postgres';
import { eventually } from '@coppice/testing';
import { type PooledProxy, startPooledProxy, WireClient } from './pooled-proxy.fixture';
import { wire } from './wire-messages.fixture';

const SERVERS = 5;
const THIS_BACKEND = 'select pg_backend_pid() as pid';

describe('pooled clients', () => {
  let proxy: PooledProxy;
  const open: { end?: () => Promise<void>; socket?: { destroy: () => void } }[] = [];

  beforeAll(async () => {
    proxy = await startPooledProxy(SERVERS);
  });
  afterAll(() => proxy.stop());
  afterEach(async () => {
    for (const client of open.splice(0)) {
      client.socket?.destroy();
      await client.end?.().catch(() => undefined);
    }
  });
  const connect = async (over = {}): Promise<Client> => {
    const client = await proxy.connect(over);
    open.push({ end: () => client.end() });
    return client;
  };
  const speak = async (password?: string): Promise<WireClient> => {
    const client = await WireClient.connect(proxy.port, password);
    open.push(client);
    return client;
  };
  const backends = async (): Promise<number> => {
    const [row] = await proxy.postgres.query<{ n: number }>(
      "select count(*)::int as n from pg_stat_activity where usename in ('app', 'other')",
    );
    return row!.n;
  };
  /** Does it once on each server: all others are held meanwhile. */
  const onEachServer = async (work: () => Promise<unknown>): Promise<void> => {
    const others = await Promise.all(Array.from({ length: SERVERS }, () => connect()));
    for (const other of others) await other.query('begin');
    for (const other of others) {
      await other.query('rollback');
      await work();
      await other.query('begin');
    }
    for (const other of others) await other.query('rollback');
  };
  const pidsOf = async (client: Client): Promise<Set<number>> => {
    const pids = new Set<number>();
    await onEachServer(async () =>
      pids.add((await client.query<{ pid: number }>(THIS_BACKEND)).rows[0]!.pid),
    );
    return pids;
  };

  it('are heard again after a copy that failed while more of it came', async () => {
    await proxy.postgres.query('create table copied (a int)');
    const client = await speak();
    client.send(wire.query('copy copied from stdin'));
    while ((await client.next())?.type !== 'G');
    const more = wire.copyData('1\n'.repeat(20_000));
    client.send(wire.copyData('not a number\n'), more.subarray(0, 1_000));
    expect(await client.ready()).toEqual(['E:22P02', 'Z:I']);
    client.send(more.subarray(1_000), wire.copyDone());
    await systemClock.sleep(100);
    client.send(wire.query('select 5'));
    expect(await client.ready()).toEqual(['T', 'D:5', 'C:SELECT 1', 'Z:I']);
  });

  it('are more than their servers, and each gets its own answers', async () => {
    const clients = await Promise.all(Array.from({ length: 50 }, () => connect()));
    await Promise.all(
      clients.map(async (client, n) => {
        for (let round = 0; round < 4; round += 1) {
          const { rows } = await client.query('select $1::int as n, pg_sleep(0.001)', [n * 10 + round]);
          expect(rows[0].n).toBe(n * 10 + round);
        }
      }),
    );
    expect(await backends()).toBeLessThanOrEqual(SERVERS);
  });
  it('keep one server for the length of a transaction', async () => {
    const [one, two] = [await connect(), await connect()];
    await one.query('begin');
    const pid = (await one.query(THIS_BACKEND)).rows[0].pid;
    for (let i = 0; i < 5; i += 1) expect((await two.query(THIS_BACKEND)).rows[0].pid).not.toBe(pid);
    await expect(one.query('select 1/0')).rejects.toMatchObject({ code: '22012' });
    await expect(one.query('select 1')).rejects.toMatchObject({ code: '25P02' });
    await one.query('rollback');
    expect((await one.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
  });
  it('use prepared statements on whatever server they get', async () => {
    const client = await connect();
    const prepared = { name: 'mine', text: 'select $1::int + 1 as n, pg_backend_pid() as pid' };
    const pids = new Set<number>();
    await onEachServer(async () => {
      const { rows } = await client.query({ ...prepared, values: [1] });
      expect(rows[0].n).toBe(2);
      pids.add(rows[0].pid as number);
    });
    expect(pids.size).toBe(SERVERS);
    // Another client's statement of the same name is another statement.
    const other = await connect();
    expect((await other.query({ name: 'mine', text: "select 'other' as n" })).rows).toEqual([{ n: 'other' }]);
    expect((await client.query({ ...prepared, values: [2] })).rows[0].n).toBe(3);
  });
  it('leave nothing to others: settings, roles, temporary tables, locks, channels, statements', async () => {
    const client = await connect();
    for (const sql of [
      "set work_mem = '9MB'",
      "select set_config('my.tenant', 'secret', false)",
      'create temp table t as select 1 as a',
      'select pg_advisory_lock(1)',
      'listen c',
      'prepare p as select 1',
      'declare c cursor with hold for select 1',
      'set role pg_monitor',
      "set timezone = 'Asia/Tokyo'",
    ])
      await client.query(sql);
    const look = `select current_setting('work_mem') as mem, current_setting('my.tenant', true) as tenant,
      to_regclass('pg_temp.t') as temp, (select count(*)::int from pg_locks where locktype = 'advisory') as locks,
      (select count(*)::int from pg_listening_channels()) as channels, current_user as who,
      (select count(*)::int from pg_prepared_statements where from_sql) as prepared,
      (select count(*)::int from pg_cursors where name = 'c') as cursors, current_setting('timezone') as zone`;
    const others = await Promise.all(Array.from({ length: SERVERS + 1 }, () => connect()));
    for (const { rows } of await Promise.all(others.map((other) => other.query(look)))) {
      expect({ ...rows[0], tenant: rows[0].tenant || null }).toEqual({
        mem: '4MB',
        tenant: null,
        temp: null,
        locks: 0,
        channels: 0,
        who: 'app',
        prepared: 0,
        cursors: 0,
        zone: 'Etc/UTC',
      });
    }
  });
  it('leave nothing that a function did unseen, either', async () => {
    await proxy.postgres.query(
      "create or replace function sneak() returns int language sql as $$ select set_config('my.tenant', 'secret', false); select 1 $$",
    );
    const clients = await Promise.all(Array.from({ length: SERVERS + 3 }, () => connect()));
    for (let round = 0; round < 3; round += 1) {
      await clients[round]!.query('select sneak()');
      for (const other of clients.filter((c) => c !== clients[round])) {
        const { rows } = await other.query("select current_setting('my.tenant', true) as tenant");
        expect(rows[0].tenant || null).toBeNull();
      }
    }
  });
  it('keep the settings that drivers are told of, wherever they go', async () => {
    const client = await connect({ application_name: "it's me\\" });
    await client.query("set timezone = 'Asia/Tokyo'");
    const zone = 'select current_setting($$timezone$$) as zone, current_setting($$application_name$$) as app';
    const other = await connect();
    await onEachServer(async () => {
      expect((await client.query(zone)).rows).toEqual([{ zone: 'Asia/Tokyo', app: "it's me\\" }]);
      expect((await other.query(zone)).rows).toEqual([{ zone: 'Etc/UTC', app: '' }]);
    });
  });
  it('share no server with another credential, be it of the same role', async () => {
    const one = await connect({ password: 'one' });
    const pids = await pidsOf(one);
    expect(pids.size).toBe(SERVERS);
    const two = await connect({ password: 'two' });
    const third = await connect({ user: 'other', password: 'other' });
    for (const client of [two, third]) {
      const { rows } = await client.query<{ pid: number }>(THIS_BACKEND);
      expect([...pids]).not.toContain(rows[0]!.pid);
    }
  });
  it('cancel what they run, and never what another runs', async () => {
    const [mine, yours] = [await connect(), await connect()];
    const { processID, secretKey } = mine as unknown as { processID: number; secretKey: number };
    const cancel = async (): Promise<void> => {
      const socket = (await import('node:net')).connect(proxy.port, '127.0.0.1');
      const packet = Buffer.alloc(16);
      [16, 80877102, processID, secretKey].forEach((n, i) => packet.writeInt32BE(n | 0, i * 4));
      socket.write(packet);
      await new Promise((resolve) => socket.once('close', resolve));
    };
    const slow = mine.query('select pg_sleep(20)').catch((error: { code: string }) => error.code);
    await systemClock.sleep(100);
    await cancel();
    expect(await slow).toBe('57014');
    // Requests that come when the query is over race with the next user of its server.
    for (let round = 0; round < 10; round += 1) {
      await mine.query('select 1');
      const late = cancel();
      await Promise.all([
        yours.query('select pg_sleep(0.002)'),
        mine.query('select 1').catch(() => undefined),
      ]);
      await late;
    }
  });
  it('copy in and out, by both protocols, and go on after a copy that failed', async () => {
    const client = await speak();
    client.send(wire.query('create table if not exists copied (a int); truncate copied'));
    await client.ready();
    client.send(wire.query('copy copied from stdin'));
    expect((await client.next())?.type).toBe('G');
    client.send(wire.copyData('1\n2\n'), wire.copyData('3\n'), wire.copyDone());
    expect(await client.ready()).toEqual(['C:COPY 3', 'Z:I']);
    // As libpq does: a Sync before it knows of the copy, another after it.
    client.send(wire.parse('', 'copy copied from stdin'), wire.bind(''), wire.execute(), wire.sync());
    while ((await client.next())?.type !== 'G');
    client.send(wire.copyData('4\n'), wire.copyDone(), wire.sync());
    expect(await client.ready()).toEqual(['C:COPY 1', 'Z:I']);
    client.send(wire.query('copy copied from stdin'));
    expect((await client.next())?.type).toBe('G');
    client.send(wire.copyData('x\n'), wire.copyData('5\n'), wire.copyDone());
    expect(await client.ready()).toEqual(['E:22P02', 'Z:I']);
    client.send(wire.copyData('late\n'), wire.query('copy copied from stdin'));
    expect((await client.next())?.type).toBe('G');
    client.send(wire.copyFail());
    expect(await client.ready()).toEqual(['E:57014', 'Z:I']);
    client.send(wire.query('copy (select generate_series(1, 20000)) to stdout'));
    const out = await client.ready();
    expect(out.filter((m) => m === 'd')).toHaveLength(20_000);
    expect(out.at(-1)).toBe('Z:I');
    expect(await backends()).toBeLessThanOrEqual(SERVERS);
  });
  it('pipeline, with errors that skip to the next Sync', async () => {
    const client = await speak();
    client.send(
      wire.parse('a', 'select 1'),
      wire.bind('a'),
      wire.execute(),
      wire.parse('b', 'select nonsense'),
      wire.bind('b'),
      wire.parse('c', 'select 3'),
      wire.sync(),
      wire.bind('a'),
      wire.execute(),
      wire.sync(),
      wire.bind('c'),
      wire.sync(),
      wire.parse('c', 'select 4'),
      wire.bind('c'),
      wire.execute(),
      wire.sync(),
    );
    expect(await client.ready()).toEqual(['1', '2', 'D:1', 'C:SELECT 1', 'E:42703', 'Z:I']);
    expect(await client.ready()).toEqual(['2', 'D:1', 'C:SELECT 1', 'Z:I']);
    expect(await client.ready()).toEqual(['E:26000', 'Z:I']);
    expect(await client.ready()).toEqual(['1', '2', 'D:4', 'C:SELECT 1', 'Z:I']);
  });
  it('mix simple queries into a pipeline', async () => {
    const client = await speak();
    const ok = [wire.parse('', 'select 1'), wire.bind(''), wire.execute()];
    client.send(...ok, wire.query('select 2'), wire.query('select 1/0'), ...ok, wire.sync());
    expect(await client.ready()).toEqual(['1', '2', 'D:1', 'C:SELECT 1', 'T', 'D:2', 'C:SELECT 1', 'Z:I']);
    expect(await client.ready()).toEqual(['T', 'E:22012', 'Z:I'].filter((m) => m !== 'T'));
    expect(await client.ready()).toEqual(['1', '2', 'D:1', 'C:SELECT 1', 'Z:I']);
    client.send(
      wire.parse('', 'select nonsense'),
      wire.query('select 2'),
      wire.sync(),
      wire.query('select 3'),
    );
    expect(await client.ready()).toEqual(['E:42703', 'Z:I']);
    expect(await client.ready()).toEqual(['T', 'D:3', 'C:SELECT 1', 'Z:I']);
  });
  it('hear of statements what PostgreSQL says', async () => {
    const client = await speak();
    client.send(wire.parse('s', 'select 1'), wire.parse('s', 'select 2'), wire.sync());
    expect(await client.ready()).toEqual(['1', 'E:42P05', 'Z:I']);
    client.send(wire.close('s'), wire.sync());
    expect(await client.ready()).toEqual(['3', 'Z:I']);
    client.send(wire.describe('s'), wire.sync());
    expect(await client.ready()).toEqual(['E:26000', 'Z:I']);
    client.send(wire.bind(''), wire.sync());
    expect(await client.ready()).toEqual(['E:26000', 'Z:I']);
    // Parsed before one Sync, used after it, as some drivers do, with others on the same servers in between.
    client.send(wire.parse('', "select 'mine'"), wire.describe(''), wire.sync());
    await client.ready();
    const other = await speak();
    for (let i = 0; i < SERVERS; i += 1) {
      other.send(wire.parse('', "select 'yours'"), wire.bind(''), wire.execute(), wire.sync());
      await other.ready();
    }
    client.send(wire.bind(''), wire.execute(), wire.sync());
    expect(await client.ready()).toEqual(['2', 'D:mine', 'C:SELECT 1', 'Z:I']);
    client.send(
      wire.parse('t', 'select 1'),
      wire.sync(),
      wire.query('deallocate all'),
      wire.bind('t'),
      wire.sync(),
    );
    await client.ready();
    await client.ready();
    expect(await client.ready()).toContain('Z:I');
    client.send(wire.bind('t'), wire.sync());
    expect(await client.ready()).toEqual(['E:26000', 'Z:I']);
    client.send(wire.parse('t', 'select 5'), wire.bind('t'), wire.execute(), wire.sync());
    expect(await client.ready()).toEqual(['1', '2', 'D:5', 'C:SELECT 1', 'Z:I']);
  });
  it('prepare anew what others prepared before a table changed', async () => {
    await proxy.postgres.query(
      'drop table if exists shape; create table shape (a int); insert into shape values (1)',
    );
    const shape = { name: 'shape', text: 'select * from shape' };
    const before = await connect();
    await onEachServer(async () => expect((await before.query(shape)).rows).toEqual([{ a: 1 }]));
    await proxy.postgres.query("alter table shape add b text default 'x'");
    await onEachServer(async () => {
      const after = await connect();
      expect((await after.query(shape)).rows).toEqual([{ a: 1, b: 'x' }]);
    });
  });
  it('that are killed in a transaction roll back', async () => {
    await proxy.postgres.query('create table if not exists kept (a int); truncate kept');
    const client = await speak();
    client.send(wire.query('begin; insert into kept values (1)'));
    await client.ready();
    client.socket.destroy();
    const other = await connect();
    await other.query('begin; lock table kept');
    expect((await other.query('select count(*)::int as n from kept')).rows).toEqual([{ n: 0 }]);
    await other.query('commit');
  });
  it('that break the protocol are told so, and nobody else is hurt', async () => {
    for (const bytes of [
      writeMessage('y', Buffer.from('x')),
      Buffer.from([81, 0, 0, 0, 1]),
      Buffer.from([69, 0, 1, 0, 0]),
      Buffer.from([80, 0x7f, 0xff, 0xff, 0xff]),
      writeMessage('B', Buffer.alloc(12, 65)),
      writeMessage('P', Buffer.from('name without end')),
    ]) {
      const client = await speak();
      client.send(wire.query('begin'));
      await client.ready();
      client.send(bytes);
      expect(await client.ready()).toEqual(['E:08P01', 'closed']);
    }
    const client = await speak();
    client.send(writeMessage('P', Buffer.concat([Buffer.from('big\0'), Buffer.alloc(1_100_000, 32)])));
    expect(await client.ready()).toEqual(['E:54000', 'closed']);
    const all = await Promise.all(Array.from({ length: 2 * SERVERS }, () => connect()));
    for (const other of all) expect((await other.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
  });
  it('that read slowly get all of a large result, which is held nowhere whole', async () => {
    const client = await speak();
    client.socket.pause();
    const before = process.memoryUsage().rss;
    client.send(wire.query("select repeat('x', 1000000) from generate_series(1, 80)"));
    await systemClock.sleep(300);
    expect(process.memoryUsage().rss - before).toBeLessThan(50e6);
    client.socket.resume();
    const seen = await client.ready();
    expect(seen.filter((m) => m.startsWith('D')).length).toBe(80);
    expect(seen.at(-1)).toBe('Z:I');
  });
  it('have their bytes counted', async () => {
    const client = await connect();
    const before = await proxy.transferred();
    await client.query("select repeat('x', 100000)");
    const more = (await proxy.transferred()) - before;
    expect(more).toBeGreaterThan(100_000);
    expect(more).toBeLessThan(120_000);
  });
  it('end with their credential, and others go on', async () => {
    const [mine, yours] = [await connect({ password: 'one' }), await connect({ password: 'two' })];
    const idle = await connect({ password: 'one' });
    const ends = [mine, idle].map((c) => new Promise<void>((resolve) => c.once('end', resolve)));
    const busy = mine.query('select pg_sleep(30)').catch((error: { code: string }) => error.code);
    await systemClock.sleep(50);
    proxy.ended.add('app-one');
    await proxy.live.check(new AbortController().signal);
    await Promise.all(ends);
    expect(['28P01', '57P01']).toContain(await busy);
    expect((await yours.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
    await eventually(5_000, async () => {
      const [row] = await proxy.postgres.query<{ n: number }>(
        "select count(*)::int as n from pg_stat_activity where query like '%pg_sleep(30)%' and pid <> pg_backend_pid()",
      );
      expect(row!.n).toBe(0);
    });
    proxy.ended.clear();
  });
});
