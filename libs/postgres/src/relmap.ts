/**
 * `pg_filenode.map` (`RelMapFile`, src/backend/utils/cache/relmapper.c), 524 bytes: which file holds each catalog whose
 * file number cannot be looked up in pg_class, because it is needed to read pg_class.
 *
 *   ┌──────────────────┬───────┬─────────────────────────────────┬───────────┐
 *   │ magic 0x592717   │ count │ 64 × { catalog OID, file number }│ CRC-32C   │   all u32, little-endian
 *   │ i32              │ i32   │ unused ones zero                │ of before │
 *   └──────────────────┴───────┴─────────────────────────────────┴───────────┘
 */
import { crc32c } from '@coppice/bytes';

export const RELMAP_SIZE = 524;
const MAGIC = 0x592717;
const MAX_MAPPINGS = 64;
const CRC_OFFSET = 8 + 8 * MAX_MAPPINGS;

export interface RelationMapping {
  readonly catalog: number;
  readonly fileNumber: number;
}

export class CorruptRelationMap extends Error {
  constructor(reason: string) {
    super(`corrupt pg_filenode.map: ${reason}`);
    this.name = 'CorruptRelationMap';
  }
}

/** Reads a map. Throws `CorruptRelationMap`. */
export function decodeRelationMap(bytes: Buffer): RelationMapping[] {
  if (bytes.length !== RELMAP_SIZE) throw new CorruptRelationMap(`${bytes.length} bytes, not ${RELMAP_SIZE}`);
  if (bytes.readInt32LE(0) !== MAGIC)
    throw new CorruptRelationMap(`its magic is 0x${bytes.readUInt32LE(0).toString(16)}`);
  const count = bytes.readInt32LE(4);
  if (count < 0 || count > MAX_MAPPINGS) throw new CorruptRelationMap(`it claims ${count} mappings`);
  if (crc32c(bytes.subarray(0, CRC_OFFSET)) !== bytes.readUInt32LE(CRC_OFFSET))
    throw new CorruptRelationMap('its checksum is wrong');
  return Array.from({ length: count }, (_, i) => ({
    catalog: bytes.readUInt32LE(8 + 8 * i),
    fileNumber: bytes.readUInt32LE(12 + 8 * i),
  }));
}

/** The 524 bytes of a map of at most 64 mappings. */
export function encodeRelationMap(mappings: readonly RelationMapping[]): Buffer {
  if (mappings.length > MAX_MAPPINGS)
    throw new RangeError(`${mappings.length} relation mappings, at most ${MAX_MAPPINGS} fit`);
  const bytes = Buffer.alloc(RELMAP_SIZE);
  bytes.writeInt32LE(MAGIC, 0);
  bytes.writeInt32LE(mappings.length, 4);
  mappings.forEach(({ catalog, fileNumber }, i) => {
    bytes.writeUInt32LE(catalog, 8 + 8 * i);
    bytes.writeUInt32LE(fileNumber, 12 + 8 * i);
  });
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, CRC_OFFSET)), CRC_OFFSET);
  return bytes;
}
