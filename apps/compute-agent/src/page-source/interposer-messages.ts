/**
 * What the interposer in a server process says to the page source, over one Unix stream connection per process.
 * Little-endian.
 *
 *   request, 24 bytes    0        1..3  4..7         8..11        12..15   16..19      20..23
 *     hello              1        zero  nonce (8 bytes)           version  process id  zero
 *     fetch              2        zero  file number  first block  count    ahead       sequence
 *     prefetch           3        zero  file number  first block  count    zero        zero
 *     look up            4        zero  database     relation     fork     segment     sequence
 *     lay database       5        zero  database     zero         zero     zero        sequence
 *
 *   answer, 16 bytes     0                      1..3  4..7      8..11            12..15
 *     to a fetch         0 pages | 1 failure    zero  sequence  pages or bytes   zero
 *                        then the pages, 8192 bytes each, or the text that says why
 *     to 4 and 5         0 done  | 1 failure    zero  sequence  zero or bytes    blocks that are local and new
 *                        then nothing, or the text that says why
 *
 * A process says hello once and then has one request under way at a time. The answer to a fetch has at least one page and
 * at most `count`. `ahead` says how many blocks after those will probably be wanted next. Hello and prefetch have no
 * answer; who says a wrong hello is disconnected.
 */
import { CoppiceError } from '@coppice/service-kit';
import { DEFAULT_TABLESPACE, type ForkNumber, forkSuffix, GLOBAL_TABLESPACE } from '@coppice/vocabulary';
import type { RelationFile } from './tracked-names';

export const PROTOCOL_VERSION = 2;
/** Most blocks that one request may name. */
export const MAX_RUN = 64;
/** Most blocks that a fetch may announce to be wanted next. */
export const MAX_AHEAD = 256;
const REQUEST_BYTES = 24;
const ANSWER_BYTES = 16;
const MAX_FAILURE_TEXT = 512;
/** The highest that 2^32 blocks need. */
const MAX_SEGMENT = 32_767;
const Kind = { hello: 1, fetch: 2, prefetch: 3, lookUp: 4, layDatabase: 5 } as const;

export interface Hello {
  readonly kind: 'hello';
  readonly nonce: bigint;
  readonly version: number;
  readonly processId: number;
}

/** Blocks `first` to `first + count - 1` of one file of the state file's list. */
export interface Run {
  readonly file: number;
  readonly first: number;
  readonly count: number;
}

export interface Fetch extends Run {
  readonly kind: 'fetch';
  readonly ahead: number;
  readonly sequence: number;
}

export interface Prefetch extends Run {
  readonly kind: 'prefetch';
}

/** Files of a relation that nobody has asked for yet. */
export interface LookUp {
  readonly kind: 'lookUp';
  readonly file: RelationFile;
  readonly sequence: number;
}

export interface LayDatabase {
  readonly kind: 'layDatabase';
  /** 0: what all databases share. */
  readonly database: number;
  readonly sequence: number;
}

/** Those that are answered. */
export type Question = Fetch | LookUp | LayDatabase;
export type InterposerRequest = Hello | Prefetch | Question;

/** Cuts a byte stream into requests. */
export class RequestReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Requests that are complete with this chunk. Throws `Malformed` for what the protocol does not know. */
  push(chunk: Buffer): InterposerRequest[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const requests: InterposerRequest[] = [];
    let position = 0;
    for (; bytes.length - position >= REQUEST_BYTES; position += REQUEST_BYTES) {
      requests.push(decodeRequest(bytes.subarray(position, position + REQUEST_BYTES)));
    }
    this.#rest = bytes.subarray(position);
    return requests;
  }
}

function decodeRequest(bytes: Buffer): InterposerRequest {
  const kind = bytes.readUInt8(0);
  if (kind === Kind.hello) {
    return {
      kind: 'hello',
      nonce: bytes.readBigUInt64LE(4),
      version: bytes.readUInt32LE(12),
      processId: bytes.readUInt32LE(16),
    };
  }
  const run = { file: bytes.readUInt32LE(4), first: bytes.readUInt32LE(8), count: bytes.readUInt32LE(12) };
  if (kind === Kind.fetch)
    return { kind: 'fetch', ...run, ahead: bytes.readUInt32LE(16), sequence: bytes.readUInt32LE(20) };
  if (kind === Kind.prefetch) return { kind: 'prefetch', ...run };
  const sequence = bytes.readUInt32LE(20);
  if (kind === Kind.layDatabase) return { kind: 'layDatabase', database: run.file, sequence };
  if (kind === Kind.lookUp) return { kind: 'lookUp', file: relationFile(bytes), sequence };
  throw new CoppiceError(
    'Malformed',
    'interposer-request',
    `a server process sent a request of kind ${kind}`,
  );
}

function relationFile(bytes: Buffer): RelationFile {
  const [database, relation, fork, segment] = [4, 8, 12, 16].map((at) => bytes.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ];
  if (!isFork(fork) || segment > MAX_SEGMENT)
    throw new CoppiceError(
      'Malformed',
      'interposer-request',
      `a server process looks up segment ${segment} of fork ${fork}`,
    );
  return {
    tablespace: database === 0 ? GLOBAL_TABLESPACE : DEFAULT_TABLESPACE,
    database,
    relation,
    fork,
    segment,
  };
}

function isFork(fork: number): fork is ForkNumber {
  return fork in forkSuffix;
}

/** The whole answer to a look-up, or to a database laid out. */
export function encodeDone(sequence: number, localBlocks: number): Buffer {
  const bytes = encodePagesHead(sequence, 0);
  bytes.writeUInt32LE(localBlocks, 12);
  return bytes;
}

/** The head of an answer that `pages` pages follow. */
export function encodePagesHead(sequence: number, pages: number): Buffer {
  const bytes = Buffer.alloc(ANSWER_BYTES);
  bytes.writeUInt32LE(sequence, 4);
  bytes.writeUInt32LE(pages, 8);
  return bytes;
}

/** A whole answer that says why there are no pages; it ends up in the server's log. */
export function encodeFailure(sequence: number, text: string): Buffer {
  const why = Buffer.from(text).subarray(0, MAX_FAILURE_TEXT);
  const head = Buffer.alloc(ANSWER_BYTES);
  head.writeUInt8(1, 0);
  head.writeUInt32LE(sequence, 4);
  head.writeUInt32LE(why.length, 8);
  return Buffer.concat([head, why]);
}
