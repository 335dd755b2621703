import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import {
  describeRecord,
  firstRecordBoundary,
  LONG_HEADER_SIZE,
  parseSegmentName,
  rmgrName,
  WAL_PAGE_SIZE,
  WalStreamDecoder,
} from '@coppice/postgres';
import { formatLsn, type LsnNumber } from '@coppice/vocabulary';

export interface PrintWalOptions {
  readonly from?: LsnNumber;
  readonly to?: LsnNumber;
  readonly rmgr?: string;
}

/** Prints one line for each record in these consecutive segment files; returns where the WAL in them ends. Throws `CorruptWal`. */
export function printWal(
  files: readonly string[],
  options: PrintWalOptions,
  print: (line: string) => void,
): LsnNumber {
  const segments = files.map((file) => {
    const bytes = readFileSync(file);
    if (bytes.length < LONG_HEADER_SIZE) throw new Error(`${file} is too short for a WAL segment`);
    const segmentSize = bytes.readUInt32LE(32);
    const name = parseSegmentName(basename(file), segmentSize);
    if (!name) throw new Error(`${file} is not named like a WAL segment of ${segmentSize} bytes`);
    return { file, bytes, segmentSize, start: name.startLsn };
  });
  const { segmentSize, bytes, start } = segments[0]!;
  const from = options.from ?? firstRecordBoundary(bytes, start, segmentSize);
  if (from === undefined) throw new Error(`no record starts in ${files[0]}; begin with an earlier segment`);
  if (from < start || from >= start + bytes.length)
    throw new Error(`${formatLsn(from)} is not in ${files[0]}`);

  const decoder = new WalStreamDecoder(from, { segmentSize, zeros: 'end' });
  for (const segment of segments) {
    const at = Math.max(from, segment.start);
    if (decoder.position !== at) throw new Error(`${segment.file} does not follow the file before it`);
    for (
      let offset = at - segment.start;
      offset < segment.bytes.length;
      offset += WAL_PAGE_SIZE - (offset % WAL_PAGE_SIZE)
    ) {
      if (decoder.ended || decoder.lastRecordEnd >= (options.to ?? Infinity)) return decoder.lastRecordEnd;
      const pageEnd = offset + WAL_PAGE_SIZE - (offset % WAL_PAGE_SIZE);
      decoder.push(segment.bytes.subarray(offset, pageEnd), (record) => {
        if (record.lsn >= (options.to ?? Infinity)) return;
        if (options.rmgr && rmgrName(record.rmgr).toLowerCase() !== options.rmgr.toLowerCase()) return;
        print(describeRecord(record));
      });
    }
  }
  return decoder.lastRecordEnd;
}
