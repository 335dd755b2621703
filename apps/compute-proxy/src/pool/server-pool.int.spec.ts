import type { Message } from '@coppice/postgres';
import { silentLog, systemClock } from '@coppice/service-kit';
import { startPostgres, type TestPostgres } from '@coppice/testing';
import { openCompute } from '../compute-connection';
import { poolTarget, type PoolTarget } from './pool-target';
import type { PooledServer } from './pooled-server';
import { query } from './reset-server';
import { ServerMessages } from './server-messages';
import { ServerPool } from './server-pool';

const signal = new AbortController().signal;

describe('a pool of server connections', () => {
  let postgres: TestPostgres;
  let pool: ServerPool;
  let opens = 0;
  let openFailure: Error | undefined;
  const ends = new Map<string, (() => void)[]>();

  const makePool = (over: object = {}): ServerPool =>
    new ServerPool({
      open: async (target, aborted) => {
        opens += 1;
        if (openFailure) throw openFailure;
        const address = { socketDirectory: postgres.socketDirectory, port: postgres.port };
        const session = { parameters: target.parameters, readOnly: false };
        return { ...(await openCompute(address, session, aborted)), started: false };
      },
      liveCredentials: {
        add: ({ credentialId, end }) => {
          ends.set(credentialId, [...(ends.get(credentialId) ?? []), end]);
          return () => undefined;
        },
      },
      transfers: { add: () => () => undefined },
      clock: systemClock,
      log: silentLog(),
      maxServers: 10,
      maxServersPerEndpoint: 2,
      maxWaitingPerEndpoint: 3,
      waitTimeoutMs: 500,
      idleTimeoutMs: 60_000,
      maxStatementBytes: 32 * 1024 * 1024,
      ...over,
    });
  const target = (credentialId = 'c1', parameters: Record<string, string> = {}): PoolTarget =>
    poolTarget(
      'ep-a-b-c',
      { credentialId, expiresUnixMs: 0, readOnly: false },
      new Map(Object.entries({ user: 'app', database: 'postgres', ...parameters })),
    );
  const run = async (server: PooledServer, sql: string): Promise<string[]> => {
    const messages = new ServerMessages(server, 1 << 20);
    await messages.write(query(sql));
    const seen: Message[] = [];
    while (seen.at(-1)?.type !== 'Z') seen.push(await messages.read());
    return seen.filter((m) => m.type === 'D').map((m) => m.body.toString('utf8', 6));
  };

  beforeAll(async () => {
    postgres = await startPostgres({});
    await postgres.query('create role app login superuser');
    await postgres.query('create role coppice_admin login superuser');
  });
  afterAll(() => postgres.dispose());
  beforeEach(() => {
    opens = 0;
    openFailure = undefined;
    pool = makePool();
  });
  afterEach(() => pool.asPart().stop());

  it('gives a connection back out as it was opened', async () => {
    const one = await pool.checkout(target(), { signal });
    const pid = (await run(one, 'select pg_backend_pid()'))[0];
    await run(one, "set work_mem = '9MB'");
    await run(
      one,
      'create temp table t (a int); select pg_advisory_lock(7); listen l; prepare p as select 1',
    );
    await run(one, 'set role pg_monitor');
    pool.checkin(one);
    const two = await pool.checkout(target(), { signal });
    expect(await run(two, 'select pg_backend_pid()')).toEqual([pid]);
    expect(await run(two, "select current_setting('work_mem')")).toEqual(['4MB']);
    expect(await run(two, "select current_user, to_regclass('pg_temp.t')")).toHaveLength(1);
    expect(await run(two, 'select current_user')).toEqual(['app']);
    expect(await run(two, "select count(*) from pg_locks where locktype = 'advisory'")).toEqual(['0']);
    expect(await run(two, 'select count(*) from pg_listening_channels()')).toEqual(['0']);
    expect(await run(two, 'select count(*) from pg_prepared_statements')).toEqual(['0']);
    expect(opens).toBe(1);
    pool.checkin(two);
  });
  it('keeps what an owner left unseen for that owner, and clears it for another', async () => {
    const [me, you] = [{}, {}];
    const mine = await pool.checkout(target(), { owner: me, signal });
    await run(mine, "set work_mem = '9MB'");
    pool.checkin(mine);
    const again = await pool.checkout(target(), { owner: me, signal });
    expect(await run(again, "select current_setting('work_mem')")).toEqual(['9MB']);
    pool.checkin(again);
    const yours = await pool.checkout(target(), { owner: you, signal });
    expect(yours).toBe(mine);
    expect(await run(yours, "select current_setting('work_mem')")).toEqual(['4MB']);
    pool.checkin(yours);
  });
  it('loses none to an owner that gets another while its own is idle', async () => {
    pool = makePool({ maxServersPerEndpoint: 3 });
    const [me, ...others] = [{}, {}, {}];
    const checkout = (owner: object): Promise<PooledServer> => pool.checkout(target(), { owner, signal });
    const held = [];
    for (const owner of [...others, me!]) held.push(await checkout(owner));
    for (const server of held) pool.checkin(server);
    // The first waits for a reset, so that the second is not the first in line.
    for (const server of await Promise.all([checkout({}), checkout(me!)])) pool.checkin(server);
    for (const server of await Promise.all([checkout({}), checkout({}), checkout({})])) pool.checkin(server);
    expect(opens).toBe(3);
  });
  it('never shares across credentials or start-up settings', async () => {
    const first = await pool.checkout(target('c1'), { signal });
    pool.checkin(first);
    const second = await pool.checkout(target('c2'), { signal });
    expect(second).not.toBe(first);
    pool.checkin(second);
    const third = await pool.checkout(target('c1', { options: '-c work_mem=5MB' }), { signal });
    expect(await run(third, "select current_setting('work_mem')")).toEqual(['5MB']);
    // The bound of the endpoint is two: the one idle for longest made room.
    expect(first.isGone).toBe(true);
    pool.checkin(third);
  });
  it('serves those who wait in their order, and refuses who waits too long or is too many', async () => {
    const held = [await pool.checkout(target(), { signal }), await pool.checkout(target(), { signal })];
    const order: number[] = [];
    const waiting = [1, 2, 3].map(async (n) => {
      const server = await pool.checkout(target(), { signal });
      order.push(n);
      pool.checkin(server);
    });
    await expect(pool.checkout(target(), { signal })).rejects.toMatchObject({ sqlstate: '53300' });
    for (const server of held) {
      await run(server, 'select 1');
      pool.checkin(server);
    }
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    const again = [await pool.checkout(target(), { signal }), await pool.checkout(target(), { signal })];
    await expect(pool.checkout(target(), { signal })).rejects.toMatchObject({ code: 'pool-exhausted' });
    for (const server of again) pool.discard(server);
  });
  it('lets no credential starve another of one endpoint', async () => {
    const held = [
      await pool.checkout(target('c1'), { signal }),
      await pool.checkout(target('c1'), { signal }),
    ];
    const other = pool.checkout(target('c2'), { signal });
    const same = pool.checkout(target('c1'), { signal });
    pool.checkin(held[0]!);
    pool.discard(await other);
    pool.checkin(held[1]!);
    pool.checkin(await same);
  });
  it('forgets who left the line, and gives up an opening that nobody waits for', async () => {
    const leaves = new AbortController();
    let isAborted = false;
    const slow = makePool({
      open: (_: PoolTarget, aborted: AbortSignal) =>
        new Promise((_resolve, reject) =>
          aborted.addEventListener('abort', () => {
            isAborted = true;
            reject(aborted.reason as Error);
          }),
        ),
    });
    const waits = slow.checkout(target(), { signal: leaves.signal });
    leaves.abort(new Error('left'));
    await expect(waits).rejects.toThrow('left');
    expect(isAborted).toBe(true);
  });
  it('drops a connection whose server went away, and opens another', async () => {
    const server = await pool.checkout(target(), { signal });
    const [pid] = await run(server, 'select pg_backend_pid()');
    pool.checkin(server);
    await postgres.query(`select pg_terminate_backend(${pid!})`);
    while (!server.isGone) await systemClock.sleep(5);
    const next = await pool.checkout(target(), { signal });
    expect(await run(next, 'select 1')).toEqual(['1']);
    pool.checkin(next);
  });
  it('tells all who wait why no connection can be opened', async () => {
    openFailure = new Error('no compute for you');
    const waits = [1, 2, 3].map(() => pool.checkout(target(), { signal }));
    for (const wait of waits) await expect(wait).rejects.toThrow('no compute for you');
  });
  it('lets those who wait go on waiting when an opening fails while there are others', async () => {
    pool = makePool({ maxServersPerEndpoint: 4, maxWaitingPerEndpoint: 10, waitTimeoutMs: 10_000 });
    const held = await pool.checkout(target(), { signal });
    openFailure = new Error('no more for you');
    const order: number[] = [];
    const waits = [1, 2, 3, 4].map(async (n) => {
      const server = await pool.checkout(target(), { signal });
      order.push(n);
      pool.checkin(server);
    });
    await systemClock.sleep(100);
    expect(order).toEqual([]);
    // Those that failed are not tried again at once.
    expect(opens).toBeLessThanOrEqual(1 + 3);
    await run(held, 'select 1');
    pool.checkin(held);
    await Promise.all(waits);
    expect(order).toEqual([1, 2, 3, 4]);
    const last = await pool.checkout(target(), { signal });
    const waits2 = pool.checkout(target(), { signal });
    await systemClock.sleep(50);
    pool.discard(last);
    await expect(waits2).rejects.toThrow('no more for you');
  });
  it('ends with the credential, in the middle of a statement', async () => {
    const server = await pool.checkout(target('over'), { signal });
    const busy = run(server, 'select pg_sleep(30)').catch((error: unknown) => error);
    await systemClock.sleep(50);
    for (const end of ends.get('over')!) end();
    await busy;
    while (!server.isGone) await systemClock.sleep(5);
  });
  it('ends at once with the credential when it is idle, without asking the server', async () => {
    const server = await pool.checkout(target('idle over'), { owner: {}, signal });
    await run(server, 'select 1');
    pool.checkin(server);
    for (const end of ends.get('idle over')!) end();
    expect(server.isGone).toBe(true);
  });
  it('never lets a request to cancel hit the next user', async () => {
    const only = makePool({ maxServersPerEndpoint: 1, waitTimeoutMs: 10_000 });
    for (let round = 0; round < 15; round += 1) {
      const server = await only.checkout(target(), { signal });
      await run(server, 'select 1');
      const cancel = server.cancel();
      only.checkin(server);
      const next = await only.checkout(target(), { signal });
      expect(await run(next, 'select pg_sleep(0.002), 1')).toHaveLength(1);
      only.checkin(next);
      await cancel;
    }
    await only.asPart().stop();
  });
  it('closes what is idle for long, and clears what an owner left who stays away', async () => {
    const short = makePool({ idleTimeoutMs: 1_500 });
    const server = await short.checkout(target(), { owner: {}, signal });
    await run(server, "set work_mem = '9MB'");
    short.checkin(server);
    await systemClock.sleep(1_050);
    short.sweep();
    while (server.owner) await systemClock.sleep(5);
    expect(server.isGone).toBe(false);
    await systemClock.sleep(500);
    short.sweep();
    expect(server.isGone).toBe(true);
  });
});
