import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { PooledSession } from './pooled-session';
import { StatementMemory, StatementRegistry } from './prepared-statements';
import type { ServerPool } from './server-pool';
import type { TargetServers } from './target-servers';
import { wire } from './wire-messages.fixture';

const READY_BYTES = 6;

describe('a pooled client without a server', () => {
  it('is read from no more while it does not read its answers, and gets all of them once it does', async () => {
    let taken = 0;
    let takes = false;
    let next = (): void => undefined;
    const client = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _, done) => {
        next = () => {
          taken += chunk.length;
          done();
        };
        if (takes) next();
      },
    });
    const session = new PooledSession({
      client,
      pool: {} as ServerPool,
      servers: {
        statements: new StatementRegistry(new StatementMemory(128 * 1024 * 1024).share()),
      } as TargetServers,
      greeting: new Map(),
      applicationName: undefined,
      describe: () => Buffer.alloc(0),
    });
    const over = session.run(Buffer.alloc(0));
    const [chunks, perChunk] = [100, 2_000];
    const syncs = Buffer.concat(Array.from({ length: perChunk }, wire.sync));
    for (let i = 0; i < chunks; i += 1) {
      client.push(syncs);
      await turn();
    }
    expect(client.isPaused()).toBe(true);
    expect(client.writableLength).toBeLessThanOrEqual(client.writableHighWaterMark + perChunk * READY_BYTES);
    takes = true;
    next();
    while (taken < chunks * perChunk * READY_BYTES) await turn();
    client.destroy();
    await over;
  });
});
