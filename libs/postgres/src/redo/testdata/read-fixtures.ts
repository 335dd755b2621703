import { gunzipSync } from 'node:zlib';
import { ByteReader } from '@coppice/bytes';
import { decodeRecord } from '../../wal/decode-record';
import type { BlockReference, WalRecord } from '../../wal/record';

/** One block of one record that a real server wrote: the page before; the record carries the page afterwards. */
export interface RedoFixture {
  readonly name: string;
  readonly record: WalRecord;
  readonly block: BlockReference;
  readonly before: Buffer;
}

/** Unpacks redo-17.bin.gz: every variety of record that a workload on PostgreSQL 17.10 made (see RedoFixtures in libs/testing for the format). */
export function readRedoFixtures(packed: Buffer): RedoFixture[] {
  const reader = new ByteReader(gunzipSync(packed));
  return Array.from({ length: reader.u32le() }, () => {
    const name = reader.take(reader.u8()).toString('utf8');
    const endLsn = Number(reader.u64le());
    const id = reader.u8();
    const record = decodeRecord(reader.take(reader.u32le()), endLsn - 1, endLsn);
    return { name, record, block: record.blocks.find((b) => b.id === id)!, before: reader.take(8192) };
  });
}
