import { ByteReader, EndOfBytes } from '@coppice/bytes';
import { CorruptWal, UnsupportedWal } from '../wal/corrupt-wal';
import { rmgrName } from '../wal/rmgr';
import type { WalRecord } from '../wal/record';
import type { RelationFile } from './effects';

/** Parses the main data of a record; one that ends early is a corrupt record. */
export function readMainData<T>(record: WalRecord, parse: (reader: ByteReader) => T): T {
  try {
    return parse(new ByteReader(record.mainData));
  } catch (error) {
    if (error instanceof EndOfBytes)
      throw corruptRecord(record, `its main data ends early: ${error.message}`);
    throw error;
  }
}

/** `reason` continues "this record is corrupt: …". */
export function corruptRecord(record: WalRecord, reason: string): CorruptWal {
  return new CorruptWal(record.lsn, `${describe(record)}: ${reason}`);
}

/** A sound record whose effects nobody here knows: ingest stops before it. */
export function unsupportedRecord(record: WalRecord, what: string, remedy: string): UnsupportedWal {
  return new UnsupportedWal(record.lsn, `${describe(record)}: ${what}. ${remedy}`);
}

/** A record of a later PostgreSQL than this code was written for. */
export function unknownRecord(record: WalRecord, what: string): UnsupportedWal {
  return unsupportedRecord(
    record,
    what,
    'Run a pageserver that knows the PostgreSQL version of the compute.',
  );
}

function describe(record: WalRecord): string {
  return `${rmgrName(record.rmgr)} record, info 0x${record.info.toString(16)}`;
}

/** `count` items of `size` bytes each, after checking that they are there. */
export function readArray<T>(
  reader: ByteReader,
  count: number,
  size: number,
  item: (reader: ByteReader) => T,
): T[] {
  const items = new ByteReader(reader.take(count * size));
  return Array.from({ length: count }, () => item(items));
}

/** `RelFileLocator`: tablespace, database, relation. */
export function readRelationFile(reader: ByteReader): RelationFile {
  return { tablespace: reader.u32le(), database: reader.u32le(), relation: reader.u32le() };
}
