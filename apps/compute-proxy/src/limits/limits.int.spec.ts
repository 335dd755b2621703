import { Client } from 'pg';
import { systemClock } from '@coppice/service-kit';
import { GuessLimit } from './guess-limit';
import { LoginLimits } from './login-limits';
import { ENDPOINT, GENEROUS, PASSWORD, TestProxy } from '../proxy.fixture';

let proxy: TestProxy;
const start = async (over: Partial<typeof GENEROUS>): Promise<void> => {
  proxy = await TestProxy.start({ limits: new LoginLimits({ ...GENEROUS, ...over }, systemClock) });
};
afterEach(() => proxy.stop());

const connect = async (password = PASSWORD): Promise<Client> => {
  const client = new Client({
    host: '127.0.0.1',
    port: proxy.port,
    user: 'app',
    password,
    database: 'db',
    options: `endpoint=${ENDPOINT}`,
  });
  client.on('error', () => undefined);
  await client.connect();
  return client;
};

describe('limits at the front door', () => {
  it('refuse a connection too many with what to do, and take one when another is closed', async () => {
    await start({ endpointConnections: 2 });
    const [one] = [await connect(), await connect()];
    await expect(connect()).rejects.toMatchObject({
      code: '53300',
      message: `sorry, endpoint ${ENDPOINT} has 2 connections already`,
      hint: expect.stringContaining('Close idle connections'),
    });
    expect(proxy.wakes).toBe(2);
    await one.end();
    while (proxy.serving > 1) await systemClock.sleep(5);
    await connect();
  });
  it('count the clients of an agent', async () => {
    await start({ agentConnections: 1 });
    await connect();
    await expect(connect()).rejects.toMatchObject({ code: '53300' });
  });
  it('refuse who guesses passwords before the next guess is looked at, and wake nothing', async () => {
    proxy = await TestProxy.start({
      guesses: new GuessLimit({ perSecond: 0.01, burst: 10, clock: systemClock }),
    });
    // Who knows it uses up nothing.
    for (let login = 0; login < 12; login += 1) await (await connect()).end();
    for (let guess = 0; guess < 10; guess += 1)
      await expect(connect('wrong')).rejects.toMatchObject({ code: '28P01' });
    await expect(connect()).rejects.toMatchObject({
      code: '53400',
      hint: expect.stringContaining('Try again in'),
    });
    expect(proxy.wakes).toBe(12);
  });
});
