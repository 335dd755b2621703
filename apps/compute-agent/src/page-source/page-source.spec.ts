import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, systemClock } from '@coppice/service-kit';
import { BLOCK_SIZE, keyOf, pageKeyFields } from '@coppice/vocabulary';
import { placeOf } from './placed-pages';
import { RequestReader } from './interposer-messages';
import { PageSource } from './page-source';
import { blockRangeOf } from './tracked-names';

describe('names of tracked files', () => {
  it.each([
    ['base/5/16384', 'relationBlock', 0],
    ['base/5/16384_vm.2', 'relationBlock', 262144],
    ['base/4294967295/4294967295_init.32767', 'relationBlock', 32767 * 131072],
    ['global/1262_fsm', 'relationBlock', 0],
    ['pg_xact/00A1', 'slruPage', 0xa1 * 32],
    ['pg_multixact/members/1AFFF', 'slruPage', 0x1afff * 32],
  ])('%s has keys that lead back to it', (name, _kind, firstBlock) => {
    const range = blockRangeOf(name);
    expect(range?.firstBlock).toBe(firstBlock);
    expect(placeOf(keyOf(range?.prefix ?? '', firstBlock + 7))).toEqual({ name, block: 7 });
    expect(pageKeyFields(keyOf(range?.prefix ?? '', firstBlock)).block).toBe(firstBlock);
  });

  it.each([
    'base/5/t3_16384',
    'base/5/pg_filenode.map',
    'base/5/PG_VERSION',
    'base/16384',
    'global/pg_control',
    'pg_wal/00000001',
    'base/5/1.0',
    'base/5/1.00',
    'base/99999999999/1',
    'pg_xact/xyz',
    '../base/5/1',
  ])('%s is not one', (name) => expect(blockRangeOf(name)).toBeUndefined());
});

describe('requests', () => {
  it('are read whole from any split', () => {
    const bytes = Buffer.alloc(48);
    bytes.writeUInt8(2, 0);
    bytes.writeUInt8(3, 24);
    for (let split = 0; split <= 48; split++) {
      const reader = new RequestReader();
      const kinds = [...reader.push(bytes.subarray(0, split)), ...reader.push(bytes.subarray(split))].map(
        (r) => r.kind,
      );
      expect(kinds).toEqual(['fetch', 'prefetch']);
    }
  });
});

describe('a page source', () => {
  const NONCE = 77n;
  const name = 'base/5/16384';
  let directory: string;
  let source: PageSource;
  let socket: Socket;

  function request(kind: number, words: readonly number[]): Buffer {
    const bytes = Buffer.alloc(24);
    bytes.writeUInt8(kind, 0);
    words.forEach((word, i) => bytes.writeUInt32LE(word, 4 + i * 4));
    return bytes;
  }
  const hello = (nonce = NONCE): Buffer => {
    const bytes = request(1, [0, 0, 2, 4242]);
    bytes.writeBigUInt64LE(nonce, 4);
    return bytes;
  };
  const fetch = (first: number, count: number, file = 0): Buffer => request(2, [file, first, count, 0, 9]);

  async function received(bytes: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      if (Buffer.concat(chunks).length >= bytes) break;
    }
    return Buffer.concat(chunks);
  }

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pages-'));
    const range = blockRangeOf(name);
    const socketPath = join(directory, 'p');
    source = new PageSource({
      state: { socketPath, nonce: NONCE, files: range ? [{ name, blocks: 100, range }] : [] },
      provider: {
        getPages: async (keys) => keys.map((k) => Buffer.alloc(BLOCK_SIZE, pageKeyFields(k).block)),
      },
      relations: { lookUp: async ({ relation }) => relation, layDatabase: async (database) => database },
      log: silentLog(),
      clock: systemClock,
    });
    await source.start();
    socket = connect(socketPath);
  });
  afterEach(async () => {
    socket.destroy();
    await source.stop();
    await rm(directory, { recursive: true });
  });

  it('answers a run with its pages', async () => {
    socket.write(Buffer.concat([hello(), fetch(3, 2)]));
    const answer = await received(16 + 2 * BLOCK_SIZE);
    expect([answer[0], answer.readUInt32LE(4), answer.readUInt32LE(8)]).toEqual([0, 9, 2]);
    expect([answer[16], answer[16 + BLOCK_SIZE], answer.length]).toEqual([3, 4, 16 + 2 * BLOCK_SIZE]);
  });

  it('answers a look-up, and a database laid out, with the blocks that are local', async () => {
    socket.write(Buffer.concat([hello(), request(4, [5, 16384, 0, 0, 9])]));
    expect((await received(16)).toString('hex')).toBe('00000000090000000000000000400000');
    socket.write(request(5, [7, 0, 0, 0, 10]));
    expect((await received(16)).toString('hex')).toBe('000000000a0000000000000007000000');
  });

  it.each([
    ['no hello', () => fetch(0, 1)],
    ['the hello of another compute', () => hello(78n)],
    ['a run past the end of the file', () => Buffer.concat([hello(), fetch(99, 2)])],
    ['a run that is too long', () => Buffer.concat([hello(), fetch(0, 65)])],
    ['a run of nothing', () => Buffer.concat([hello(), fetch(0, 0)])],
    ['a file that is not listed', () => Buffer.concat([hello(), fetch(0, 1, 1)])],
    [
      'a look-up of a fork that does not exist',
      () => Buffer.concat([hello(), request(4, [5, 16384, 4, 0, 9])]),
    ],
    ['two fetches at once', () => Buffer.concat([hello(), fetch(0, 1), fetch(1, 1)])],
    ['an unknown kind', () => Buffer.concat([hello(), request(9, [])])],
  ])('disconnects who sends %s', async (_what, bytes) => {
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    socket.resume();
    socket.write(bytes());
    await closed;
  });
});
