import fc from 'fast-check';
import { lsn } from '@coppice/vocabulary';
import { MessageFramer } from './message-framer';
import { decodeError, decodeStreamMessage, encodeQuery, encodeStartup, encodeStatus } from './messages';

function message(type: number, body: Buffer): Buffer {
  const bytes = Buffer.alloc(5 + body.length);
  bytes[0] = type;
  bytes.writeUInt32BE(body.length + 4, 1);
  body.copy(bytes, 5);
  return bytes;
}

describe('message framer', () => {
  it('cuts the same messages out of a stream at any split', () => {
    const body = fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b));
    const messages = fc.array(fc.tuple(fc.constantFrom(0x64, 0x43, 0x5a), body), { maxLength: 8 });
    fc.assert(
      fc.property(messages, fc.array(fc.nat(60)), (sent, cuts) => {
        const stream = Buffer.concat(sent.map(([type, bytes]) => message(type, bytes)));
        const seen: [number, string][] = [];
        const framer = new MessageFramer((type, bytes) => seen.push([type, bytes.toString('hex')]));
        let at = 0;
        for (const cut of [...cuts, stream.length]) {
          framer.push(stream.subarray(at, at + cut));
          at = Math.min(stream.length, at + cut);
        }
        framer.push(stream.subarray(at));
        expect(seen).toEqual(sent.map(([type, bytes]) => [type, bytes.toString('hex')]));
      }),
    );
  });

  it('refuses an impossible length', () => {
    const framer = new MessageFramer(() => undefined);
    expect(() => framer.push(Buffer.from([0x64, 0xff, 0xff, 0xff, 0xff]))).toThrow(/message of 4294967295 bytes/);
    expect(() => new MessageFramer(() => undefined).push(Buffer.from([0x64, 0, 0, 0, 3]))).toThrow(/message of 3 bytes/);
  });
});

describe('replication messages', () => {
  it('writes a startup packet that counts its own length', () => {
    const bytes = encodeStartup({ user: 'a', replication: 'true' });
    expect(bytes.readUInt32BE(0)).toBe(bytes.length);
    expect(bytes.subarray(8).toString('latin1')).toBe('user\0a\0replication\0true\0\0');
  });

  it('writes a query with its length behind the type', () => {
    expect(encodeQuery('X').toString('latin1')).toBe('Q\0\0\0\u0006X\0');
  });

  it('reports one position as written, flushed and applied', () => {
    const bytes = encodeStatus(lsn(0x1_0000_0002n), 7n);
    expect(bytes.length).toBe(1 + bytes.readUInt32BE(1));
    expect([6, 14, 22].map((at) => bytes.readBigUInt64BE(at))).toEqual([0x1_0000_0002n, 0x1_0000_0002n, 0x1_0000_0002n]);
    expect(bytes.readBigInt64BE(30)).toBe(7n);
  });

  it('reads wal without copying it', () => {
    const body = Buffer.concat([Buffer.from('w'), Buffer.from('0000000001000028', 'hex'), Buffer.alloc(16), Buffer.from('payload')]);
    const read = decodeStreamMessage(body);
    expect(read).toMatchObject({ kind: 'wal', start: 0x1000028n });
    if (read.kind !== 'wal') throw new Error('not wal');
    expect(read.bytes.toString()).toBe('payload');
    expect(read.bytes.buffer).toBe(body.buffer);
  });

  it('reads a keepalive that wants a reply', () => {
    const body = Buffer.concat([Buffer.from('k'), Buffer.from('0000000001000028', 'hex'), Buffer.alloc(8), Buffer.from([1])]);
    expect(decodeStreamMessage(body)).toEqual({ kind: 'keepalive', walEnd: 0x1000028n, replyWanted: true });
  });

  it('reads what the server complains of', () => {
    const body = Buffer.from('SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0', 'latin1');
    expect(decodeError(body)).toEqual({ severity: 'FATAL', sqlstate: '57P03', message: 'the database system is starting up' });
  });
});
