/**
 * Names of WAL segment files (`XLogFileName`): 24 hexadecimal digits.
 *
 *   00000001 00000016 000000B3     timeline number, high half of the LSN, segment within those 4 GiB
 */
import type { LsnNumber } from '@coppice/vocabulary';
import { WAL_SEGMENT_SIZE } from './page-header';

const NAME = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/;

/** Where the segment that holds the byte at `lsn` starts. */
export function segmentStart(lsn: LsnNumber, segmentSize = WAL_SEGMENT_SIZE): LsnNumber {
  return lsn - (lsn % segmentSize);
}

/** Name of the file that holds the byte at `lsn`. */
export function segmentName(lsn: LsnNumber, options: { tli?: number; segmentSize?: number } = {}): string {
  const { tli = 1, segmentSize = WAL_SEGMENT_SIZE } = options;
  const perId = 2 ** 32 / segmentSize;
  const segment = Math.floor(lsn / segmentSize);
  return word(tli) + word(Math.floor(segment / perId)) + word(segment % perId);
}

/** The timeline number and first LSN of a segment file; `undefined` when the name is not one. */
export function parseSegmentName(
  name: string,
  segmentSize = WAL_SEGMENT_SIZE,
): { tli: number; startLsn: LsnNumber } | undefined {
  const match = NAME.exec(name);
  if (!match) return undefined;
  const [tli, id, segment] = match.slice(1).map((digits) => parseInt(digits, 16)) as [number, number, number];
  if (segment >= 2 ** 32 / segmentSize) return undefined;
  return { tli, startLsn: id * 2 ** 32 + segment * segmentSize };
}

function word(value: number): string {
  return value.toString(16).toUpperCase().padStart(8, '0');
}
