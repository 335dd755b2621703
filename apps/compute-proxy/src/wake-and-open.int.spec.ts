import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Auth, writeAuthentication, writeError, writeMessage } from '@coppice/postgres';
import { systemClock } from '@coppice/service-kit';
import { ServerRefused } from './compute-connection';
import { wakeAndOpen } from './wake-and-open';

const PORT = 5432;

/** A server whose sessions are answered so, one after the other. */
describe('a session of a compute that was just woken', () => {
  const socketDirectory = mkdtempSync(join(tmpdir(), 'waking-'));
  const answers: Buffer[] = [];
  let server: Server;
  let wakes = 0;

  const refusal = (code: string): Buffer => writeError({ severity: 'FATAL', code, message: code });
  const welcome = Buffer.concat([writeAuthentication(Auth.ok), writeMessage('Z', Buffer.from('I'))]);
  const open = (): ReturnType<typeof wakeAndOpen> =>
    wakeAndOpen(
      'ep-a-b-c',
      { parameters: [['user', 'app']], readOnly: false },
      {
        clock: systemClock,
        wakeTimeoutMs: 5_000,
        wake: async () => {
          wakes += 1;
          return { computeId: 'compute-1', socketDirectory, port: PORT, started: false };
        },
      },
      new AbortController().signal,
    );

  beforeAll(async () => {
    server = createServer((socket) => socket.resume().end(answers.shift()!));
    server.listen(join(socketDirectory, `.s.PGSQL.${PORT}`));
    await new Promise((resolve) => server.once('listening', resolve));
  });
  beforeEach(() => {
    wakes = 0;
    answers.length = 0;
  });
  afterAll(async () => {
    await new Promise((resolve) => server.close(resolve));
    rmSync(socketDirectory, { recursive: true });
  });

  it.each([
    ['shuts down meanwhile', '57P01'],
    ['takes no sessions yet', '57P03'],
  ])('is opened with another when that %s', async (_, code) => {
    answers.push(refusal(code), refusal(code), welcome);
    (await open()).socket.destroy();
    expect(wakes).toBe(3);
  });
  it('is refused when PostgreSQL has something against it', async () => {
    answers.push(refusal('3D000'), welcome);
    await expect(open()).rejects.toBeInstanceOf(ServerRefused);
    expect(wakes).toBe(1);
  });
});
