import { type Message, writeError, writeMessage } from '@coppice/postgres';
import type { ServerMessages } from '../pool/server-messages';
import { runSql } from './run-sql';
import { NotTakenUp } from './server-exchange';
import type { SqlRequest } from './sql-request';

const statement = { query: 'select 1', parameters: [], form: { raw: true, asArrays: true } };
const mode = { isolation: undefined, readOnly: false, deferrable: false };
const limits = {
  maxBytes: 1_000,
  account: { add: () => undefined, close: () => undefined },
  signal: new AbortController().signal,
};
const message = (bytes: Buffer): Message => ({
  type: String.fromCharCode(bytes[0]!),
  body: bytes.subarray(5),
});
const ENDS = message(writeError({ severity: 'FATAL', code: '57P01', message: 'terminating' }));
const READY = message(writeMessage('Z', Buffer.from('T')));
const PARSED = message(writeMessage('1'));
const DONE = message(writeMessage('C', Buffer.from('SELECT 1\0')));

/** Runs a request over a server that says this, and goes. */
function run(request: SqlRequest, said: readonly Message[]): Promise<string> {
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
    ['a statement', { kind: 'single', statement }],
    ['a batch', { kind: 'batch', statements: [statement], mode }],
  ])('but for %s of which it answered nothing', async (_, request) => {
    await expect(run(request, [ENDS])).rejects.toBeInstanceOf(NotTakenUp);
  });
  it('when it took up the statement', async () => {
    await expect(run({ kind: 'single', statement }, [PARSED, ENDS])).rejects.toMatchObject({
      sqlstate: '57P01',
    });
  });
  it('when it ran a batch, which may have committed by itself, and ends before the COMMIT', async () => {
    const answers = [PARSED, DONE, PARSED, DONE, READY];
    await expect(
      run({ kind: 'batch', statements: [statement], mode }, [...answers, ENDS]),
    ).rejects.toMatchObject({ sqlstate: '08006' });
  });
});
