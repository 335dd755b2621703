/**
 * Our own page records, for changes that PostgreSQL's WAL implies without a block reference: visibility map bits
 * cleared by heap records, and everything on SLRU pages. One record concerns one page; the key says which.
 *
 *   ┌──────┬─────────┬───────┬─────────────────────┐
 *   │ kind │ variant │ count │ count entries       │   little-endian
 *   │  u8  │   u8    │  u16  │                     │
 *   └──────┴─────────┴───────┴─────────────────────┘
 *   kind                     variant     entry
 *   1 clear visibility       0           heap block u32, flags u8
 *   2 transaction status     the status  xid u32
 *   3 zero SLRU page         0           none
 *   4 multixact offset       0           multixact u32, offset u32
 *   5 multixact member       0           member offset u32, xid u32, status u8
 *
 * They are stored in layer files: a kind's number and entry never change meaning.
 */
import { ByteReader, ByteWriter, EndOfBytes } from '@coppice/bytes';
import type { PageValue } from './page-value';
import {
  multixactMemberPageOf,
  multixactOffsetPageOf,
  putMultixactMember,
  putMultixactOffset,
  putTransactionStatus,
  xactPageOf,
} from './slru-layout';
import type { TransactionStatusNumber } from './slru-layout';
import { VM_ALL_BITS, clearVmBits, vmPageOf } from './visibility-map';

const Kind = {
  clearVisibility: 1,
  transactionStatus: 2,
  zeroSlruPage: 3,
  multixactOffset: 4,
  multixactMember: 5,
} as const;
const HEADER_BYTES = 4;
const MAX_COUNT = 0xffff;

export interface ClearedVisibility {
  readonly heapBlock: number;
  /** Which bits go: `VM_ALL_FROZEN` or `VM_ALL_BITS`. */
  readonly flags: number;
}
export interface MultixactOffset {
  readonly multixact: number;
  readonly offset: number;
}
export interface MultixactMemberAt {
  /** Position in the whole members SLRU. */
  readonly offset: number;
  readonly xid: number;
  readonly status: number;
}

/** A small record, decoded. */
export type SmallRecord =
  | { readonly kind: 'clear-visibility'; readonly cleared: readonly ClearedVisibility[] }
  | {
      readonly kind: 'transaction-status';
      readonly status: TransactionStatusNumber;
      readonly xids: readonly number[];
    }
  | { readonly kind: 'zero-slru-page' }
  | { readonly kind: 'multixact-offsets'; readonly offsets: readonly MultixactOffset[] }
  | { readonly kind: 'multixact-members'; readonly members: readonly MultixactMemberAt[] };

/** The stored bytes of a small record are not what any version of this code wrote. */
export class CorruptPageValue extends Error {
  readonly code = 'corrupt-page-value';
  constructor(what: string) {
    super(
      `corrupt page value: ${what}; the layer it came from must be read from another copy or rebuilt from WAL`,
    );
    this.name = 'CorruptPageValue';
  }
}

/** Clears visibility map bits of heap blocks that stand on one visibility map page. */
export function clearVisibility(cleared: readonly ClearedVisibility[]): PageValue {
  onOnePage(cleared.map((c) => vmPageOf(c.heapBlock)));
  const writer = start(Kind.clearVisibility, 0, cleared.length);
  for (const { heapBlock, flags } of cleared) writer.u32le(heapBlock).u8(flags);
  return small(writer, false);
}

/** Sets the status of transactions that stand on one pg_xact page. */
export function setTransactionStatus(of: {
  xids: readonly number[];
  status: TransactionStatusNumber;
}): PageValue {
  onOnePage(of.xids.map(xactPageOf));
  const writer = start(Kind.transactionStatus, of.status, of.xids.length);
  for (const xid of of.xids) writer.u32le(xid);
  return small(writer, false);
}

/** Makes an SLRU page of zeros, whatever was there. */
export function zeroSlruPage(): PageValue {
  return small(start(Kind.zeroSlruPage, 0, 0), true);
}

/** Says where the members of multixacts start; all on one offsets page. */
export function setMultixactOffset(offsets: readonly MultixactOffset[]): PageValue {
  onOnePage(offsets.map((o) => multixactOffsetPageOf(o.multixact)));
  const writer = start(Kind.multixactOffset, 0, offsets.length);
  for (const { multixact, offset } of offsets) writer.u32le(multixact).u32le(offset);
  return small(writer, false);
}

/** Stores members of multixacts; all on one members page. */
export function setMultixactMembers(members: readonly MultixactMemberAt[]): PageValue {
  onOnePage(members.map((m) => multixactMemberPageOf(m.offset)));
  const writer = start(Kind.multixactMember, 0, members.length);
  for (const { offset, xid, status } of members) writer.u32le(offset).u32le(xid).u8(status);
  return small(writer, false);
}

function start(kind: number, variant: number, count: number): ByteWriter {
  if (count > MAX_COUNT) throw new RangeError(`a small record holds ${MAX_COUNT} entries, not ${count}`);
  return new ByteWriter(64).u8(kind).u8(variant).u16le(count);
}

function small(writer: ByteWriter, willInit: boolean): PageValue {
  return { kind: 'small', bytes: writer.finish(), willInit };
}

function onOnePage(pages: readonly number[]): void {
  for (const page of pages) {
    if (page !== pages[0])
      throw new RangeError(`one small record for two pages, ${pages[0]} and ${page}: split it by page`);
  }
}

/** Reads the bytes that the functions above made. Throws `CorruptPageValue`. */
export function decodeSmallRecord(bytes: Buffer): SmallRecord {
  const reader = new ByteReader(bytes);
  try {
    const record = decode(reader);
    if (reader.remaining > 0)
      throw new CorruptPageValue(`small record has ${reader.remaining} bytes too many`);
    return record;
  } catch (error) {
    if (error instanceof EndOfBytes)
      throw new CorruptPageValue(`small record is cut short: ${error.message}`);
    throw error;
  }
}

function decode(reader: ByteReader): SmallRecord {
  const kind = reader.u8();
  const variant = reader.u8();
  const count = reader.u16le();
  const each = <T>(read: () => T): T[] => Array.from({ length: count }, read);
  switch (kind) {
    case Kind.clearVisibility:
      return {
        kind: 'clear-visibility',
        cleared: each(() => ({ heapBlock: reader.u32le(), flags: flagsOf(reader.u8()) })),
      };
    case Kind.transactionStatus:
      if (variant > 3) throw new CorruptPageValue(`transaction status ${variant}`);
      return {
        kind: 'transaction-status',
        status: variant as TransactionStatusNumber,
        xids: each(() => reader.u32le()),
      };
    case Kind.zeroSlruPage:
      return { kind: 'zero-slru-page' };
    case Kind.multixactOffset:
      return {
        kind: 'multixact-offsets',
        offsets: each(() => ({ multixact: reader.u32le(), offset: reader.u32le() })),
      };
    case Kind.multixactMember:
      return {
        kind: 'multixact-members',
        members: each(() => ({ offset: reader.u32le(), xid: reader.u32le(), status: reader.u8() })),
      };
    default:
      throw new CorruptPageValue(`small record of unknown kind ${kind}`);
  }
}

function flagsOf(flags: number): number {
  if (flags & ~VM_ALL_BITS) throw new CorruptPageValue(`visibility flags 0x${flags.toString(16)}`);
  return flags;
}

/** Applies a small record to its page in place: the stored bytes, without decoding them into objects. */
export function applySmallRecord(page: Buffer, bytes: Buffer): void {
  if (bytes.length < HEADER_BYTES) throw new CorruptPageValue(`small record of ${bytes.length} bytes`);
  const variant = bytes[1]!;
  const count = bytes.readUInt16LE(2);
  switch (bytes[0]) {
    case Kind.clearVisibility:
      expectLength(bytes, count * 5);
      for (let at = HEADER_BYTES; at < bytes.length; at += 5)
        clearVmBits(page, bytes.readUInt32LE(at), flagsOf(bytes[at + 4]!));
      return;
    case Kind.transactionStatus:
      expectLength(bytes, count * 4);
      if (variant > 3) throw new CorruptPageValue(`transaction status ${variant}`);
      for (let at = HEADER_BYTES; at < bytes.length; at += 4)
        putTransactionStatus(page, bytes.readUInt32LE(at), variant);
      return;
    case Kind.zeroSlruPage:
      expectLength(bytes, 0);
      page.fill(0);
      return;
    case Kind.multixactOffset:
      expectLength(bytes, count * 8);
      for (let at = HEADER_BYTES; at < bytes.length; at += 8) {
        putMultixactOffset(page, bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4));
      }
      return;
    case Kind.multixactMember:
      expectLength(bytes, count * 9);
      for (let at = HEADER_BYTES; at < bytes.length; at += 9) {
        putMultixactMember(page, bytes.readUInt32LE(at), {
          xid: bytes.readUInt32LE(at + 4),
          status: bytes[at + 8]!,
        });
      }
      return;
    default:
      throw new CorruptPageValue(`small record of unknown kind ${bytes[0]}`);
  }
}

function expectLength(bytes: Buffer, body: number): void {
  if (bytes.length !== HEADER_BYTES + body) {
    throw new CorruptPageValue(
      `small record of kind ${bytes[0]} is ${bytes.length} bytes, not ${HEADER_BYTES + body}`,
    );
  }
}
