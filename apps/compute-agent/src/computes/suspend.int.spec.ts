/** What sessions notice of a suspend: PostgreSQL itself says what it had begun to do. */
import type { StartComputeRequest } from '@coppice/contracts';
import { systemClock } from '@coppice/service-kit';
import type { Client } from 'pg';
import { AgentWorld } from './agent-world.fixture';

jest.setTimeout(120_000);

const SESSIONS = 8;
const ROUNDS = 5;
/** Node drops what it has not read of a socket that it cannot write to any more, the farewell as well. */
const FAREWELL: unknown = expect.stringMatching(/^(57P01|EPIPE)$/);

/** Events that `pg` has no types for: what the server answered, message by message. */
interface Answers {
  readonly connection: { on(event: 'parseComplete', heard: () => void): void };
}

describe('a suspend', () => {
  let world: AgentWorld;
  let request: StartComputeRequest;
  let socketDirectory: string;
  beforeAll(async () => (world = await AgentWorld.start()));
  afterAll(() => world?.dispose());
  const limits = { drainMs: 10_000, suspendDeadlineMs: 20_000 };
  afterEach(() => void Object.assign(world.limits, limits));
  beforeEach(async () => {
    request = world.request({ setupSql: ['create role app login superuser'] });
    ({ socketDirectory } = await world.computes.start(request));
  });
  /** What the server said when it ended a session: where that comes between two queries, no query has it. */
  const farewells = new WeakMap<Client, string>();
  const connect = async (): Promise<Client> => {
    const client = await world.connect(socketDirectory, 'app');
    client.on('error', (error) => {
      const { code } = error as { code?: string };
      if (code !== undefined && !farewells.has(client)) farewells.set(client, code);
    });
    return client;
  };
  const suspend = () => world.computes.stop(request.computeId, false);
  /** Of sessions that ask one thing after the other: how each ended, and whether the server had begun what it was asked then. */
  const keepAsking = async (client: Client, text: string) => {
    let hasBegun = false;
    (client as unknown as Answers).connection.on('parseComplete', () => (hasBegun = true));
    for (let asked = 0; ; asked += 1) {
      hasBegun = false;
      try {
        await client.query(text, [asked]);
      } catch (error) {
        return { code: farewells.get(client) ?? (error as { code?: string }).code, hasBegun, asked };
      }
    }
  };

  it.each(Array.from({ length: ROUNDS }, (_, n) => n))('ends each session between two commands (%s)', async (n) => {
    const clients = await Promise.all(Array.from({ length: SESSIONS }, connect));
    const ends = clients.map((client) => keepAsking(client, 'select count(*), $1::int from pg_class'));
    await systemClock.sleep(100 + n);
    expect((await suspend()).state).toBe('stopped');
    const all = await Promise.all(ends);
    expect(all.filter(({ code }) => code === '57P01').length).toBeGreaterThanOrEqual(SESSIONS / 2);
    for (const end of all) {
      expect(end).toMatchObject({ code: FAREWELL, hasBegun: false });
      expect(end.asked).toBeGreaterThan(0);
    }
  });

  it('lets a transaction come to its end, and takes no new session meanwhile', async () => {
    const client = await connect();
    await client.query('begin');
    await client.query('create table kept (a int)');
    const over = suspend();
    const refused = async (): Promise<unknown> => {
      for (;;) await (await connect()).end();
    };
    await expect(refused()).rejects.toMatchObject({ code: '57P03' });
    await client.query('insert into kept values (1)');
    expect((await client.query('commit')).command).toBe('COMMIT');
    await expect(keepAsking(client, 'select $1::int')).resolves.toMatchObject({ code: FAREWELL, hasBegun: false });
    expect((await over).state).toBe('stopped');
  });

  it('ends one that does not end in time', async () => {
    world.limits.drainMs = 500;
    const [idle, busy] = await Promise.all([connect(), connect()]);
    await idle.query('begin');
    const ended = keepAsking(busy, 'select pg_sleep(60), $1::int');
    await systemClock.sleep(100);
    const from = systemClock.monotonic();
    expect((await suspend()).state).toBe('stopped');
    expect(systemClock.monotonic() - from).toBeGreaterThanOrEqual(world.limits.drainMs);
    expect(await ended).toMatchObject({ code: '57P01', hasBegun: true });
    await expect(idle.query('select 1')).rejects.toThrow();
  });

  it('leaves time for the shutdown, however long it may wait for transactions', async () => {
    world.limits.suspendDeadlineMs = 4_000;
    const client = await connect();
    await client.query('begin');
    expect((await suspend()).state).toBe('stopped');
  });

  it('does not wait for sessions that do nothing', async () => {
    await Promise.all(Array.from({ length: SESSIONS }, connect));
    const from = systemClock.monotonic();
    await suspend();
    expect(systemClock.monotonic() - from).toBeLessThan(world.limits.drainMs);
  });
});
