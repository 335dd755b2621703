/**
 * The control file of a timeline: all that an acceptor must remember but the WAL itself. Replaced as a whole, durably.
 *
 *   ┌──────────┬─────────┬────────┬────────────────────┬─────────┐
 *   │  magic   │ version │ length │        body        │ CRC-32C │   little-endian; the CRC covers all before it
 *   │ CPSKCTRL │   u32   │  u32   │      `length`      │   u32   │
 *   └──────────┴─────────┴────────┴────────────────────┴─────────┘
 *   body: timeline 16 bytes · node text · start u64 · system id u64 · PostgreSQL major u32
 *         membership: generation u32, members, new members (each: count u32, texts)
 *         term u64 · voted for text (empty: nobody) · history: count u32, (term u64, lsn u64)…
 *         commit u64 · truncate u64 · deleted u8
 *         durable end u64 · sealed u8 · pageserver: generation u64, ingested u64, durable u64
 *
 * `durableEnd` is a record end up to which the log was on disk when the file was written: a log that is found shorter was
 * damaged. `sealed` says that the log ends exactly there, with nothing behind: it was closed in good order.
 */
import { ByteReader, ByteWriter, crc32c, EndOfBytes } from '@coppice/bytes';
import type { AcceptorState, Membership, TermHistory } from '@coppice/consensus';
import { CoppiceError } from '@coppice/service-kit';
import { lsn, term, type Lsn, type NodeId, type TimelineId } from '@coppice/vocabulary';

const MAGIC = Buffer.from('CPSKCTRL', 'latin1');
const VERSION = 1;
const HEADER_BYTES = 16;

/**
 * Removing the files, or bringing back older ones, would make this safekeeper forget votes it gave and WAL it acknowledged;
 * together with one that lags it could then elect a leader that lacks commits.
 */
export const DAMAGED_TIMELINE_REMEDY =
  'Keep its files as they are: the other safekeepers go on serving it. A branch of it has all safekeepers again.';

/** How far a pageserver was when it last told. */
export interface PageserverPosition {
  readonly generation: number;
  readonly ingestedLsn: Lsn;
  readonly durableLsn: Lsn;
}

export interface ControlFile {
  readonly state: AcceptorState;
  readonly durableEnd: Lsn;
  readonly sealed: boolean;
  readonly pageserver: PageserverPosition;
}

export function encodeControlFile({ state, durableEnd, sealed, pageserver }: ControlFile): Buffer {
  const body = new ByteWriter(512).raw(Buffer.from(state.timeline, 'hex')).cstring(state.node);
  body.u64le(state.startLsn).u64le(state.systemId).u32le(state.pgVersion);
  writeMembership(body, state.membership);
  body
    .u64le(BigInt(state.term))
    .cstring(state.votedFor ?? '')
    .u32le(state.history.length);
  for (const entry of state.history) body.u64le(BigInt(entry.term)).u64le(entry.lsn);
  body
    .u64le(state.commitLsn)
    .u64le(state.truncateLsn)
    .u8(state.deleted ? 1 : 0);
  body.u64le(durableEnd).u8(sealed ? 1 : 0);
  body.u64le(BigInt(pageserver.generation)).u64le(pageserver.ingestedLsn).u64le(pageserver.durableLsn);
  const bytes = new ByteWriter(HEADER_BYTES + body.length + 4).raw(MAGIC).u32le(VERSION).u32le(body.length);
  bytes.raw(body.finish());
  return bytes.u32le(crc32c(bytes.finish())).finish();
}

/** Throws `Corrupt` when the bytes are not a whole control file. `name` is for the message. */
export function decodeControlFile(bytes: Buffer, name: string): ControlFile {
  const corrupt = (what: string): CoppiceError =>
    new CoppiceError('Corrupt', 'corrupt-control-file', `${name}: ${what}`, {
      remedy: DAMAGED_TIMELINE_REMEDY,
    });
  if (bytes.length < HEADER_BYTES + 4 || !bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw corrupt('not a control file');
  const version = bytes.readUInt32LE(8);
  if (version !== VERSION) throw corrupt(`version ${version} is not known`);
  const length = bytes.readUInt32LE(12);
  if (bytes.length !== HEADER_BYTES + length + 4)
    throw corrupt(`${bytes.length} bytes for a body of ${length}`);
  if (crc32c(bytes.subarray(0, HEADER_BYTES + length)) !== bytes.readUInt32LE(HEADER_BYTES + length))
    throw corrupt('checksum is wrong');
  try {
    return readBody(new ByteReader(bytes, HEADER_BYTES, HEADER_BYTES + length));
  } catch (error) {
    if (error instanceof EndOfBytes || error instanceof RangeError) throw corrupt(error.message);
    throw error;
  }
}

function readBody(body: ByteReader): ControlFile {
  const timeline = body.take(16).toString('hex') as TimelineId;
  const node = body.cstring() as NodeId;
  const startLsn = lsn(body.u64le());
  const systemId = body.u64le();
  const pgVersion = body.u32le();
  const membership = readMembership(body);
  const promised = term(Number(body.u64le()));
  const votedFor = body.cstring();
  const history: TermHistory = Array.from({ length: body.u32le() }, () => ({
    term: term(Number(body.u64le())),
    lsn: lsn(body.u64le()),
  }));
  const commitLsn = lsn(body.u64le());
  const state: AcceptorState = {
    timeline,
    node,
    startLsn,
    systemId,
    pgVersion,
    membership,
    term: promised,
    votedFor: votedFor === '' ? undefined : votedFor,
    history,
    commitLsn,
    leaderCommit: commitLsn,
    truncateLsn: lsn(body.u64le()),
    deleted: body.u8() === 1,
  };
  const durableEnd = lsn(body.u64le());
  const sealed = body.u8() === 1;
  const pageserver: PageserverPosition = {
    generation: Number(body.u64le()),
    ingestedLsn: lsn(body.u64le()),
    durableLsn: lsn(body.u64le()),
  };
  return { state, durableEnd, sealed, pageserver };
}

function writeMembership(body: ByteWriter, { generation, members, newMembers = [] }: Membership): void {
  body.u32le(generation);
  for (const set of [members, newMembers]) {
    body.u32le(set.length);
    for (const node of set) body.cstring(node);
  }
}

function readMembership(body: ByteReader): Membership {
  const generation = body.u32le();
  const set = (): NodeId[] => {
    const nodes: NodeId[] = [];
    for (let left = body.u32le(); left > 0; left--) nodes.push(body.cstring() as NodeId);
    return nodes;
  };
  const members = set();
  const newMembers = set();
  return { generation, members, ...(newMembers.length > 0 && { newMembers }) };
}
