import { ByteWriter } from '@coppice/bytes';
import type { RelationFork } from '@coppice/vocabulary';
import type { BlockReference, WalRecord } from '../../wal/record';

/** A record for tests of what follows decoding: only what is given matters. */
export function makeRecord(fields: Partial<WalRecord> & Pick<WalRecord, 'rmgr' | 'info'>): WalRecord {
  return {
    lsn: 0x1000,
    endLsn: 0x1100,
    bytes: Buffer.alloc(0),
    xid: 0,
    prev: 0x0f00,
    blocks: [],
    mainData: Buffer.alloc(0),
    origin: 0,
    toplevelXid: 0,
    ...fields,
  };
}

/** A reference to a block without data. */
export function makeBlock(id: number, relation: RelationFork, block: number): BlockReference {
  return { id, relation, block, willInit: false, image: undefined, data: Buffer.alloc(0) };
}

/** Main data written field by field. */
export function bytesOf(write: (writer: ByteWriter) => ByteWriter): Buffer {
  return Buffer.from(write(new ByteWriter()).finish());
}
