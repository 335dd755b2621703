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
});
