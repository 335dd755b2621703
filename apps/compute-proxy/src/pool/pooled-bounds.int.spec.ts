import type { Client } from 'pg';
import { systemClock } from '@coppice/service-kit';
import { type PooledProxy, startPooledProxy } from './pooled-proxy.fixture';

describe('pooled clients of one server and a line of one', () => {
  let proxy: PooledProxy;
  const clients: Client[] = [];

  beforeAll(async () => {
    proxy = await startPooledProxy(1, {}, 1);
  });
  afterAll(() => proxy.stop());
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end().catch(() => undefined);
  });
  const connect = async (): Promise<Client> => {
    const client = await proxy.connect();
    clients.push(client);
    return client;
  };

  it('are refused, each by itself, when the line is full', async () => {
    const [holds, waits, ...others] = [await connect(), await connect(), await connect(), await connect()];
    await holds.query('begin');
    const waiting = waits.query('select 1 as a');
    await systemClock.sleep(100);
    for (const other of others)
      await expect(other.query('select 1')).rejects.toMatchObject({
        code: '53300',
        message: '1 transactions wait for a pooled connection already',
      });
    await holds.query('rollback');
    expect((await waiting).rows).toEqual([{ a: 1 }]);
  });

  it('prepare statements as long as there is memory for them; who has more is told so, others go on', async () => {
    const [many, few] = [await connect(), await connect()];
    const ended = new Promise<void>((resolve) => many.once('end', () => resolve()));
    many.on('error', () => undefined);
    const prepare = async (client: Client, n: number): Promise<unknown> =>
      client.query({ name: `s${n}`, text: `select ${n} as n -- ${'x'.repeat(300_000)}`, values: [] });
    await prepare(few, 0);
    const refused = (async () => {
      for (let n = 0; n < 10; n++) await prepare(many, n);
    })();
    await expect(refused).rejects.toMatchObject({
      code: '53200',
      message: expect.stringContaining('prepare fewer different ones'),
    });
    await ended;
    expect((await few.query({ name: 's0', text: '', values: [] })).rows).toEqual([{ n: 0 }]);
    // What the other had is free again.
    await prepare(few, 11);
  });
});
