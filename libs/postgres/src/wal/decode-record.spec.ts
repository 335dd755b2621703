import { ByteWriter } from '@coppice/bytes';
import { decodeRecord } from './decode-record';
import { encodePageHeader, PageFlag, WAL_PAGE_SIZE } from './page-header';
import { recordBoundaryAtOrBefore } from './record-boundaries';
import { recordCrc } from './record-crc';
import { HeaderField } from './record-header';
import { WalStreamDecoder } from './stream-decoder';

const HAS_IMAGE = 0x10;
const HAS_DATA = 0x20;
const WILL_INIT = 0x40;
const SAME_REL = 0x80;

/** A record of heap with these headers and payload, with a right length and checksum. */
function record(body: ByteWriter, prev = 0): Buffer {
  const bytes = new ByteWriter()
    .u32le(24 + body.length)
    .u32le(7)
    .u64le(BigInt(prev))
    .u8(0)
    .u8(10)
    .zeros(6)
    .raw(body.finish())
    .finish();
  bytes.writeUInt32LE(recordCrc(bytes), HeaderField.crc);
  return bytes;
}

const block = (w: ByteWriter, id: number, flags: number, dataLength: number): ByteWriter =>
  w.u8(id).u8(flags).u16le(dataLength);
const relation = (w: ByteWriter): ByteWriter => w.u32le(1663).u32le(5).u32le(16384);
const reading = (body: ByteWriter) => (): unknown => decodeRecord(record(body), 64, 128);

describe('one record', () => {
  it('has blocks whose ids may have gaps, in the relation named last', () => {
    const body = relation(block(new ByteWriter(), 0, HAS_DATA, 3)).u32le(9);
    block(body, 4, HAS_DATA | SAME_REL | WILL_INIT | 2, 1).u32le(10);
    body.u8(255).u8(2).raw(Buffer.from('abc')).raw(Buffer.from('d')).raw(Buffer.from('mm'));
    const decoded = decodeRecord(record(body), 64, 128);
    expect(decoded).toMatchObject({ xid: 7, rmgr: 10, lsn: 64, endLsn: 128, mainData: Buffer.from('mm') });
    expect(decoded.blocks).toEqual([
      {
        id: 0,
        relation: { tablespace: 1663, database: 5, relation: 16384, fork: 0 },
        block: 9,
        willInit: false,
        image: undefined,
        data: Buffer.from('abc'),
      },
      {
        id: 4,
        relation: { tablespace: 1663, database: 5, relation: 16384, fork: 2 },
        block: 10,
        willInit: true,
        image: undefined,
        data: Buffer.from('d'),
      },
    ]);
  });

  it('has main data in the short or the long form, or none', () => {
    expect(decodeRecord(record(new ByteWriter()), 64, 128).mainData.length).toBe(0);
    expect(decodeRecord(record(new ByteWriter().u8(255).u8(1).u8(5)), 64, 128).mainData).toEqual(
      Buffer.of(5),
    );
    const long = new ByteWriter().u8(254).u32le(300).zeros(300);
    expect(decodeRecord(record(long), 64, 128).mainData.length).toBe(300);
  });

  it.each<[string, ByteWriter, RegExp]>([
    ['less payload than promised', new ByteWriter().u8(255).u8(9).u8(5), /headers promise 9/],
    ['more payload than promised', new ByteWriter().u8(255).u8(1).u8(5).u8(6), /2 bytes of payload/],
    [
      'block ids that go down',
      block(relation(block(new ByteWriter(), 1, 0, 0)).u32le(1), 1, SAME_REL, 0)
        .u32le(2)
        .u8(255)
        .u8(0),
      /block id 1 after 1/,
    ],
    ['an unknown block id', new ByteWriter().u8(40).zeros(20), /block id 40/],
    [
      'a fork that does not exist',
      relation(block(new ByteWriter(), 0, 5, 0))
        .u32le(1)
        .u8(255)
        .u8(0),
      /fork 5/,
    ],
    [
      'the relation before, when there is none',
      block(new ByteWriter(), 0, SAME_REL, 0).u32le(1).u8(255).u8(0),
      /there is none/,
    ],
    [
      'data without saying so',
      relation(block(new ByteWriter(), 0, 0, 2))
        .u32le(1)
        .u16le(1),
      /2 bytes of data/,
    ],
    [
      'no data where it says so',
      relation(block(new ByteWriter(), 0, HAS_DATA, 0))
        .u32le(1)
        .u8(255)
        .u8(0),
      /0 bytes of data/,
    ],
    ['a header that does not fit', new ByteWriter().u8(0).u8(0), /inside its headers/],
  ])('is refused with %s', (_what, body, message) => {
    expect(reading(body)).toThrow(message);
  });

  it.each([
    ['a hole that starts at 0', { length: 8000, offset: 0, flags: 1 }],
    ['a hole that leaves the page', { length: 8000, offset: 8100, flags: 1 }],
    ['a hole without the flag', { length: 8000, offset: 0, flags: 0 }],
    ['more than a page', { length: 9000, offset: 0, flags: 0 }],
    ['more than a page around a hole', { length: 9000, offset: 20, flags: 1 }],
    ['unknown flags', { length: 8192, offset: 0, flags: 0x40 }],
    ['a compressed page of full size', { length: 8192, offset: 0, flags: 4 }],
    ['a compressed page of nothing', { length: 0, offset: 0, flags: 4 }],
  ])('is refused with an image of %s', (_what, { length, offset, flags }) => {
    const body = block(new ByteWriter(), 0, HAS_IMAGE, 0).u16le(length).u16le(offset).u8(flags);
    expect(reading(relation(body).u32le(1).zeros(length))).toThrow(/image of block 0/);
  });
});

describe('a page header', () => {
  const page = 5 * WAL_PAGE_SIZE;
  const long = record(new ByteWriter().u8(254).u32le(20_000).zeros(20_000));
  const header = (at: number, remainingLength: number, tli = 1): Buffer =>
    encodePageHeader({
      info: remainingLength > 0 ? PageFlag.firstIsContrecord : 0,
      tli,
      pageLsn: at,
      remainingLength,
      systemIdentifier: undefined,
    });
  const room = WAL_PAGE_SIZE - 24;
  const stream = (secondHeader: Buffer): Buffer =>
    Buffer.concat([header(page, 0), long.subarray(0, room), secondHeader]);
  const push = (bytes: Buffer) => (): void => new WalStreamDecoder(page).push(bytes, () => undefined);

  it('says how much of a record is left', () => {
    const left = long.length - room;
    expect(push(stream(header(page + WAL_PAGE_SIZE, left)))).not.toThrow();
    expect(push(stream(header(page + WAL_PAGE_SIZE, left + 1)))).toThrow(/bytes left, the page says/);
    expect(push(stream(header(page + WAL_PAGE_SIZE, 0)))).toThrow(/the page says none/);
  });

  it('may not go back to an earlier timeline, be elsewhere, or be of another version', () => {
    const left = long.length - room;
    const next = page + WAL_PAGE_SIZE;
    expect(push(stream(header(next, left, 0)))).toThrow(/timeline number 0 after 1/);
    expect(push(stream(header(next + WAL_PAGE_SIZE, left)))).toThrow(/page says that it is at/);
    const older = header(next, left);
    older.writeUInt16LE(0xd113, 0);
    expect(push(stream(older))).toThrow(/PostgreSQL 17/);
    expect(push(header(page, 8))).toThrow(/none was left open/);
  });

  it('tells that a record ends exactly where the page does', () => {
    const full = Buffer.concat([header(page, room), Buffer.alloc(room)]);
    expect(recordBoundaryAtOrBefore(full, page, page + WAL_PAGE_SIZE)).toBe(page + WAL_PAGE_SIZE);
    expect(recordBoundaryAtOrBefore(full, page, page + WAL_PAGE_SIZE - 8)).toBeUndefined();
  });
});
