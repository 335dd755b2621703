import { type Message, writeError, writeMessage } from '@coppice/postgres';
import type { ServerMessages } from '../pool/server-messages';
import { runSql } from './run-sql';
import { NotTakenUp } from './server-exchange';
import { readSqlRequest, type SqlRequest } from './sql-request';

const asked = (body: object): SqlRequest => readSqlRequest({}, Buffer.from(JSON.stringify(body)));
const single = asked({ query: 'select 1' });
const batch = asked({ queries: [{ query: 'select 1' }] });
let counted = 0;
const limits = {
  maxBytes: 100_000,
  account: {
    add: (bytes: number) => void (counted += bytes),
    hold: () => undefined,
    close: () => undefined,
  },
  signal: new AbortController().signal,
};
beforeEach(() => {
  counted = 0;
});
const message = (bytes: Buffer): Message => ({
  type: String.fromCharCode(bytes[0]!),
  body: bytes.subarray(5),
});
const ENDS = message(writeError({ severity: 'FATAL', code: '57P01', message: 'terminating' }));
const READY = message(writeMessage('Z', Buffer.from('T')));
const PARSED = message(writeMessage('1'));
const DONE = message(writeMessage('C', Buffer.from('SELECT 1\0')));

/** Runs a request over a server that says this, and goes. */
function run(request: SqlRequest, said: readonly Message[]): Promise<Buffer> {
  const left = [...said];
  const server = {
    isIdle: false,
    write: async () => undefined,
    read: async () => left.shift() ?? Promise.reject(new Error('gone')),
  };
  return runSql(server as unknown as ServerMessages, request, limits);
}

describe('a server that ends is given no second chance to do a thing twice', () => {
  it.each<[string, SqlRequest]>([
    ['a statement', single],
    ['a batch', batch],
  ])('but for %s of which it answered nothing', async (_, request) => {
    await expect(run(request, [ENDS])).rejects.toBeInstanceOf(NotTakenUp);
  });
  it('when it took up the statement', async () => {
    await expect(run(single, [PARSED, ENDS])).rejects.toMatchObject({
      sqlstate: '57P01',
    });
  });
  it('when it ran a batch, which may have committed by itself, and ends before the COMMIT', async () => {
    const answers = [PARSED, DONE, PARSED, DONE, READY];
    await expect(run(batch, [...answers, ENDS])).rejects.toMatchObject({ sqlstate: '08006' });
  });
});

describe('an answer', () => {
  const described = message(
    writeMessage('T', Buffer.concat([Buffer.from([0, 1]), Buffer.from('a\0'), Buffer.alloc(18)])),
  );
  const row = message(writeMessage('D', Buffer.from([0, 1, 0, 0, 0, 2, 0xc3, 0xa9])));

  it('is counted as the bytes that are held of it', async () => {
    const rows = Array.from({ length: 2_000 }, () => row);
    const answer = await run(batch, [PARSED, DONE, described, ...rows, DONE, READY, PARSED, DONE, READY]);
    expect(counted).toBe(2_000 * Buffer.byteLength('{"a":"é"},') - 1);
    expect(JSON.parse(answer.toString()).results[0].rows).toHaveLength(2_000);
    expect(answer.length - counted).toBeLessThan(300);
  });
});
