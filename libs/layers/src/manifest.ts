/**
 * What a timeline consists of in object storage: one object per timeline and generation, replaced whole. Objects that it
 * does not list do not exist.
 *
 *   "CPMF" u32le · version u16le · zeros u16 · body · crc-32c of all before u32le
 *   body:  timeline 16 · ancestor 16 (zeros: none) · ancestor LSN u64le · consistent LSN u64le · last record u64le
 *          · generation u64le · system identifier u64le · size in blocks i64le · layers u32le
 *   layer: kind u8 (1 delta, 2 image) · start key 18 · end key 18 · start LSN u64le · end LSN u64le · bytes u64le
 *          · generation u64le
 */
import { ByteReader, ByteWriter, crc32c, EndOfBytes } from '@coppice/bytes';
import type { Generation, LsnNumber, PageKey, TimelineId } from '@coppice/vocabulary';
import { PAGE_KEY_BYTES, pageKeyToBytes } from '@coppice/vocabulary';
import { CorruptLayer } from './corrupt-layer';
import type { Layer } from './layer';

const MAGIC = 0x464d5043; // "CPMF"
const VERSION = 1;
const NO_ANCESTOR = '0'.repeat(32);

export interface Ancestor {
  readonly timeline: TimelineId;
  /** Where the timeline starts on it. */
  readonly lsn: LsnNumber;
}

export interface Manifest {
  readonly timeline: TimelineId;
  readonly ancestor: Ancestor | undefined;
  /** Everything at or below this is in the layers. */
  readonly consistentLsn: LsnNumber;
  /** Start of the last record that ends at or below the consistent LSN; 0 where there is none yet. */
  readonly lastRecordLsn: LsnNumber;
  readonly generation: Generation;
  readonly systemIdentifier: bigint;
  /** How many blocks the timeline itself added to (or took from) the logical size it started with. */
  readonly sizeChangeBlocks: number;
  readonly layers: readonly Layer[];
}

export function encodeManifest(manifest: Manifest): Buffer {
  const { ancestor } = manifest;
  const w = new ByteWriter(256 + manifest.layers.length * 69);
  w.u32le(MAGIC).u16le(VERSION).u16le(0);
  w.raw(Buffer.from(manifest.timeline, 'hex')).raw(Buffer.from(ancestor?.timeline ?? NO_ANCESTOR, 'hex'));
  w.u64le(BigInt(ancestor?.lsn ?? 0)).u64le(BigInt(manifest.consistentLsn)).u64le(BigInt(manifest.lastRecordLsn));
  w.u64le(BigInt(manifest.generation)).u64le(manifest.systemIdentifier);
  w.i64le(BigInt(manifest.sizeChangeBlocks)).u32le(manifest.layers.length);
  for (const layer of manifest.layers) {
    w.u8(layer.kind === 'delta' ? 1 : 2).raw(pageKeyToBytes(layer.startKey)).raw(pageKeyToBytes(layer.endKey));
    w.u64le(BigInt(layer.startLsn)).u64le(BigInt(layer.endLsn)).u64le(BigInt(layer.bytes)).u64le(BigInt(layer.generation));
  }
  return w.u32le(crc32c(w.finish())).finish();
}

/** Reads a manifest. Throws `CorruptLayer` when the bytes are damaged or of a version that this code does not know. */
export function decodeManifest(bytes: Buffer): Manifest {
  if (bytes.length < 12 || bytes.readUInt32LE(0) !== MAGIC) throw new CorruptLayer('not a manifest');
  const end = bytes.length - 4;
  if (crc32c(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)) throw new CorruptLayer('manifest with wrong checksum');
  const r = new ByteReader(bytes, 4, end);
  try {
    const version = r.u16le();
    if (version !== VERSION) throw new CorruptLayer(`manifest of version ${version}, this program reads ${VERSION}`);
    r.skip(2);
    const manifest = decodeBody(r);
    if (r.remaining > 0) throw new CorruptLayer(`manifest has ${r.remaining} bytes too many`);
    return manifest;
  } catch (error) {
    if (error instanceof EndOfBytes) throw new CorruptLayer(`manifest is cut short: ${error.message}`);
    throw error;
  }
}

function decodeBody(r: ByteReader): Manifest {
  const timeline = r.take(16).toString('hex') as TimelineId;
  const ancestorId = r.take(16).toString('hex');
  const ancestorLsn = exact(r.u64le());
  return {
    timeline,
    ancestor: ancestorId === NO_ANCESTOR ? undefined : { timeline: ancestorId as TimelineId, lsn: ancestorLsn },
    consistentLsn: exact(r.u64le()),
    lastRecordLsn: exact(r.u64le()),
    generation: exact(r.u64le()) as Generation,
    systemIdentifier: r.u64le(),
    sizeChangeBlocks: exact(r.i64le()),
    layers: Array.from({ length: r.u32le() }, () => decodeLayer(r)),
  };
}

function decodeLayer(r: ByteReader): Layer {
  const kind = r.u8();
  if (kind !== 1 && kind !== 2) throw new CorruptLayer(`layer of kind ${kind}`);
  const key = (): PageKey => r.take(PAGE_KEY_BYTES).toString('latin1') as PageKey;
  return {
    kind: kind === 1 ? 'delta' : 'image',
    startKey: key(),
    endKey: key(),
    startLsn: exact(r.u64le()),
    endLsn: exact(r.u64le()),
    bytes: exact(r.u64le()),
    generation: exact(r.u64le()) as Generation,
  };
}

function exact(value: bigint): number {
  const narrow = Number(value);
  if (!Number.isSafeInteger(narrow)) throw new CorruptLayer(`number ${value} in a manifest`);
  return narrow;
}
