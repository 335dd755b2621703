import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ComputeConnection } from '../compute-connection';
import { READ_AT_ONCE_BYTES } from './not-taken-up';
import { poolTarget } from './pool-target';
import { PooledServer } from './pooled-server';

describe('a server that closes its connection', () => {
  const directory = mkdtempSync(join(tmpdir(), 'pooled-'));
  let listener: Server;

  beforeAll(async () => {
    listener = createServer({ pauseOnConnect: true }).listen(join(directory, 's'));
    await new Promise((resolve) => listener.once('listening', resolve));
  });
  afterAll(async () => {
    await new Promise((resolve) => listener.close(resolve));
    rmSync(directory, { recursive: true });
  });

  /** What is known after these writes, of which it reads all or none. */
  async function tookNothing(writes: readonly number[], isRead: boolean): Promise<boolean> {
    const theirs = new Promise<Socket>((resolve) => listener.once('connection', resolve));
    const socket = connect(join(directory, 's'));
    await new Promise((resolve) => socket.once('connect', resolve));
    const connection = { socket, greeting: Buffer.alloc(0) } as unknown as ComputeConnection;
    const credential = { credentialId: 'c', expiresUnixMs: 0, readOnly: false };
    const server = new PooledServer(poolTarget('ep-a-b-c', credential, new Map()), connection);
    const closed = new Promise<void>((resolve) =>
      server.hold({ onData: () => undefined, onDrain: () => undefined, onClose: resolve }),
    );
    const peer = await theirs;
    for (const bytes of writes) server.write(Buffer.alloc(bytes));
    if (isRead) {
      peer.resume();
      await new Promise((resolve) => peer.once('data', resolve));
    }
    peer.destroy();
    await closed;
    return server.tookNothing;
  }

  it('took nothing when it read none of one small write', async () => {
    expect(await tookNothing([READ_AT_ONCE_BYTES], false)).toBe(true);
  });
  it('may have taken what it read', async () => {
    expect(await tookNothing([100], true)).toBe(false);
  });
  it('may have taken a part of more than it reads at once', async () => {
    expect(await tookNothing([READ_AT_ONCE_BYTES + 1], false)).toBe(false);
    expect(await tookNothing([100, 100], false)).toBe(false);
  });
});
