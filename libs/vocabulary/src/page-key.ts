/**
 * The key space of a timeline: every thing that the pageserver versions by LSN has one `PageKey`.
 *
 *   byte 0      1..4         5..8       9..12      13     14..17
 *   ┌────┬────────────┬───────────┬───────────┬──────┬───────────┐
 *   │kind│ tablespace │ database  │ relation  │ fork │   block   │   18 bytes, big-endian
 *   └────┴────────────┴───────────┴───────────┴──────┴───────────┘
 *
 * Other kinds reuse the fields as drawn beside each maker below. A key is held as an 18-character latin-1 string: it
 * compares, sorts and hashes natively, in the same order as its bytes.
 */
import type { Brand } from './brand';
import type { ForkNumber, RelationFork } from './fork';

export type PageKey = Brand<string, 'PageKey'>;

export const PAGE_KEY_BYTES = 18;

export const KeyKind = {
  /** Checkpoint fields that a compute starts from. */
  checkpoint: 0x01,
  /** One per database directory. */
  database: 0x02,
  /** `pg_filenode.map` of a database, or of `global/` when tablespace is 1664 and database 0. */
  relationMap: 0x03,
  /** One per relation fork: its size in blocks; a tombstone once dropped. Doubles as the relation directory. */
  relationSize: 0x04,
  /** One 8 KiB page of a relation fork. */
  relationBlock: 0x05,
  /** Size in pages of one SLRU segment; a tombstone once removed. */
  slruSegmentSize: 0x06,
  /** One 8 KiB page of an SLRU. */
  slruPage: 0x07,
  /** State of one prepared transaction. */
  twoPhase: 0x08,
  /** Progress of one replication origin. */
  replicationOrigin: 0x09,
  /** A file that stock PostgreSQL does not WAL-log, carried by the compute agent. */
  carriedFile: 0x0a,
  /** Commit time → position, for `lsnAt(timestamp)`. */
  commitTime: 0x0b,
} as const;
export type KeyKindNumber = (typeof KeyKind)[keyof typeof KeyKind];

/** The SLRUs that are WAL-logged, by directory. */
export const Slru = { xact: 0, multixactOffsets: 1, multixactMembers: 2 } as const;
export type SlruNumber = (typeof Slru)[keyof typeof Slru];
/** Pages in one SLRU segment file (`SLRU_PAGES_PER_SEGMENT`). */
export const SLRU_PAGES_PER_SEGMENT = 32;

/** The fields of a key, for printing and for tests. */
export interface PageKeyFields {
  readonly kind: KeyKindNumber;
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
  readonly fork: number;
  readonly block: number;
}

const { fromCharCode } = String;

function word(value: number): string {
  return fromCharCode((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

/** The first 14 bytes, shared by all keys that differ only in the last field: build once, append blocks in a loop. */
export function keyPrefix(kind: KeyKindNumber, a: number, b: number, c: number, d: number): string {
  return fromCharCode(kind) + word(a) + word(b) + word(c) + fromCharCode(d);
}

/** Completes a prefix of `keyPrefix`. */
export function keyOf(prefix: string, last: number): PageKey {
  return (prefix + word(last)) as PageKey;
}

export function relationBlockPrefix(r: RelationFork): string {
  return keyPrefix(KeyKind.relationBlock, r.tablespace, r.database, r.relation, r.fork);
}

export function relationBlockKey(r: RelationFork, block: number): PageKey {
  return keyOf(relationBlockPrefix(r), block);
}

export function relationSizeKey(r: RelationFork): PageKey {
  return keyOf(keyPrefix(KeyKind.relationSize, r.tablespace, r.database, r.relation, r.fork), 0);
}

export function databaseKey(tablespace: number, database: number): PageKey {
  return keyOf(keyPrefix(KeyKind.database, tablespace, database, 0, 0), 0);
}

export function relationMapKey(tablespace: number, database: number): PageKey {
  return keyOf(keyPrefix(KeyKind.relationMap, tablespace, database, 0, 0), 0);
}

/** `segment` is the SLRU segment number; the SLRU stands in the tablespace field. */
export function slruSegmentSizeKey(slru: SlruNumber, segment: number): PageKey {
  return keyOf(keyPrefix(KeyKind.slruSegmentSize, slru, 0, 0, 0), segment);
}

/** `page` is the page number within the whole SLRU, 0..2^32-1. */
export function slruPageKey(slru: SlruNumber, page: number): PageKey {
  return keyOf(keyPrefix(KeyKind.slruPage, slru, 0, 0, 0), page);
}

export const CHECKPOINT_KEY: PageKey = keyOf(keyPrefix(KeyKind.checkpoint, 0, 0, 0, 0), 0);

/** A 64-bit full transaction id: the high half in the relation field. */
export function twoPhaseKey(fullXid: bigint): PageKey {
  return keyOf(keyPrefix(KeyKind.twoPhase, 0, 0, Number(fullXid >> 32n), 0), Number(fullXid & 0xffffffffn));
}

export function replicationOriginKey(originId: number): PageKey {
  return keyOf(keyPrefix(KeyKind.replicationOrigin, 0, 0, 0, 0), originId);
}

/** `hash` is 64 bits of the file path's hash; the value repeats the path. */
export function carriedFileKey(hash: bigint): PageKey {
  return keyOf(keyPrefix(KeyKind.carriedFile, 0, 0, Number(hash >> 32n), 0), Number(hash & 0xffffffffn));
}

/** `micros` is PostgreSQL's `TimestampTz`: microseconds since 2000-01-01 UTC, not negative. */
export function commitTimeKey(micros: bigint): PageKey {
  return keyOf(keyPrefix(KeyKind.commitTime, 0, 0, Number(micros >> 32n), 0), Number(micros & 0xffffffffn));
}

export function pageKeyFields(key: PageKey): PageKeyFields {
  const u32 = (at: number): number =>
    ((key.charCodeAt(at) << 24) |
      (key.charCodeAt(at + 1) << 16) |
      (key.charCodeAt(at + 2) << 8) |
      key.charCodeAt(at + 3)) >>>
    0;
  return {
    kind: key.charCodeAt(0) as KeyKindNumber,
    tablespace: u32(1),
    database: u32(5),
    relation: u32(9),
    fork: key.charCodeAt(13),
    block: u32(14),
  };
}

/** The relation fork of a `relationBlock` or `relationSize` key. */
export function relationOfKey(key: PageKey): RelationFork {
  const { tablespace, database, relation, fork } = pageKeyFields(key);
  return { tablespace, database, relation, fork: fork as ForkNumber };
}

export function pageKeyToBytes(key: PageKey): Buffer {
  return Buffer.from(key, 'latin1');
}

/** `undefined` when the bytes are not 18 long or the kind is unknown. */
export function pageKeyFromBytes(bytes: Uint8Array): PageKey | undefined {
  if (bytes.length !== PAGE_KEY_BYTES) return undefined;
  if (!Object.values(KeyKind).includes(bytes[0] as KeyKindNumber)) return undefined;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1') as PageKey;
}

/** For logs and test messages: `relationBlock 1663/5/1259.0 blk 3`. */
export function formatPageKey(key: PageKey): string {
  const f = pageKeyFields(key);
  const kind = Object.entries(KeyKind).find(([, n]) => n === f.kind)?.[0] ?? `kind ${f.kind}`;
  return `${kind} ${f.tablespace}/${f.database}/${f.relation}.${f.fork} blk ${f.block}`;
}
