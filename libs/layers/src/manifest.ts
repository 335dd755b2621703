/**
 * What a timeline consists of in object storage: one object per timeline and generation, replaced whole. Objects that it
 * does not list do not exist.
 *
 *   head:  "CPMF" u32le · version u16le · flags u16le (1: the ancestor knows of this timeline)
 *          · timeline 16 · ancestor 16 (zeros: none) · ancestor LSN u64le · consistent LSN u64le · last record u64le
 *          · generation u64le · system identifier u64le · size change in blocks i64le
 *          · size at the start in blocks i64le (-1: not found out) · bytes of all layers u64le · layers u32le
 *          · crc-32c of the head before it u32le
 *   then the layers, then crc-32c of all before u32le
 *   layer: kind u8 (1 delta, 2 image) · start key 18 · end key 18 · start LSN u64le · end LSN u64le · bytes u64le
 *          · generation u64le
 *
 * The head says all of a timeline's sizes without its layers. Version 1 had no flags, size at the start, bytes of layers
 * and crc of the head; it is still read.
 */
import { ByteReader, ByteWriter, crc32c, EndOfBytes } from '@coppice/bytes';
import type { Generation, LsnNumber, PageKey, TimelineId } from '@coppice/vocabulary';
import { PAGE_KEY_BYTES, pageKeyToBytes } from '@coppice/vocabulary';
import { CorruptLayer } from './corrupt-layer';
import type { Layer } from './layer';

const MAGIC = 0x464d5043; // "CPMF"
const VERSION = 2;
const KNOWN_TO_ANCESTOR = 1;
/** Bytes of a manifest's head. */
export const MANIFEST_HEAD_BYTES = 112;
const LAYER_BYTES = 69;
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
  /** The logical size that it started with, in blocks; undefined while nobody has found it out. */
  readonly logicalBaseBlocks: number | undefined;
  /** Whether the ancestor has an object that says that this timeline starts on it. */
  readonly isKnownToAncestor: boolean;
  readonly layers: readonly Layer[];
}

/** A manifest without its layers. */
export interface ManifestHead extends Omit<Manifest, 'layers'> {
  /** Bytes of all layers together. */
  readonly layerBytes: number;
  readonly layerCount: number;
}

export function encodeManifest(manifest: Manifest): Buffer {
  const { ancestor } = manifest;
  const w = new ByteWriter(256 + manifest.layers.length * LAYER_BYTES);
  w.u32le(MAGIC).u16le(VERSION).u16le(manifest.isKnownToAncestor ? KNOWN_TO_ANCESTOR : 0);
  w.raw(Buffer.from(manifest.timeline, 'hex')).raw(Buffer.from(ancestor?.timeline ?? NO_ANCESTOR, 'hex'));
  w.u64le(BigInt(ancestor?.lsn ?? 0)).u64le(BigInt(manifest.consistentLsn)).u64le(BigInt(manifest.lastRecordLsn));
  w.u64le(BigInt(manifest.generation)).u64le(manifest.systemIdentifier);
  w.i64le(BigInt(manifest.sizeChangeBlocks)).i64le(BigInt(manifest.logicalBaseBlocks ?? -1));
  w.u64le(BigInt(manifest.layers.reduce((sum, { bytes }) => sum + bytes, 0))).u32le(manifest.layers.length);
  w.u32le(crc32c(w.finish()));
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
    const { head, layerCount } = decodeHead(r);
    if (layerCount * LAYER_BYTES !== r.remaining) throw new CorruptLayer(`manifest of ${layerCount} layers has ${r.remaining} bytes of them`);
    return { ...head, layers: Array.from({ length: layerCount }, () => decodeLayer(r)) };
  } catch (error) {
    if (error instanceof EndOfBytes) throw new CorruptLayer(`manifest is cut short: ${error.message}`);
    throw error;
  }
}

/** Reads the first `MANIFEST_HEAD_BYTES` of a manifest; `undefined` for version 1, which must be read whole. */
export function decodeManifestHead(bytes: Buffer): ManifestHead | undefined {
  if (bytes.length < 12 || bytes.readUInt32LE(0) !== MAGIC) throw new CorruptLayer('not a manifest');
  if (bytes.readUInt16LE(4) === 1) return undefined;
  if (bytes.length < MANIFEST_HEAD_BYTES) throw new CorruptLayer('manifest is cut short');
  const end = MANIFEST_HEAD_BYTES - 4;
  if (crc32c(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)) throw new CorruptLayer('manifest head with wrong checksum');
  const { head, layerBytes, layerCount } = decodeHead(new ByteReader(bytes, 4, MANIFEST_HEAD_BYTES));
  return { ...head, layerBytes, layerCount };
}

interface DecodedHead {
  readonly head: Omit<Manifest, 'layers'>;
  readonly layerBytes: number;
  readonly layerCount: number;
}

function decodeHead(r: ByteReader): DecodedHead {
  const version = r.u16le();
  if (version < 1 || version > VERSION) throw new CorruptLayer(`manifest of version ${version}, this program reads up to ${VERSION}`);
  const flags = r.u16le();
  const timeline = r.take(16).toString('hex') as TimelineId;
  const ancestorId = r.take(16).toString('hex');
  const ancestorLsn = exact(r.u64le());
  const positions = { consistentLsn: exact(r.u64le()), lastRecordLsn: exact(r.u64le()), generation: exact(r.u64le()) as Generation };
  const systemIdentifier = r.u64le();
  const sizeChangeBlocks = exact(r.i64le());
  const base = version === 1 ? -1 : exact(r.i64le());
  const layerBytes = version === 1 ? 0 : exact(r.u64le());
  const layerCount = r.u32le();
  if (version > 1) r.skip(4);
  const head = {
    timeline,
    ancestor: ancestorId === NO_ANCESTOR ? undefined : { timeline: ancestorId as TimelineId, lsn: ancestorLsn },
    ...positions,
    systemIdentifier,
    sizeChangeBlocks,
    logicalBaseBlocks: base < 0 ? undefined : base,
    isKnownToAncestor: (flags & KNOWN_TO_ANCESTOR) !== 0,
  };
  return { head, layerBytes, layerCount };
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
