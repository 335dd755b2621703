import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { segmentName } from '@coppice/postgres';
import { lsn, toLsnNumber } from '@coppice/vocabulary';
import { syntheticWal, SYSTEM_ID } from '../testing/synthetic-wal';
import { WalLog } from './wal-log';

const START = lsn(0x1000000n + 0x5000n + 0x358n);
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cwl-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** The first segment of a log of five records, written behind what was left in the directory. */
function firstSegment(left?: Buffer): Buffer {
  const path = join(directory, segmentName(toLsnNumber(START)));
  if (left) writeFileSync(path, left);
  const log = new WalLog({ directory, startLsn: START, systemId: SYSTEM_ID, end: START });
  log.write(START, syntheticWal(START, 5, 1).bytes);
  log.flush();
  log.close();
  const bytes = readFileSync(path);
  rmSync(path);
  return bytes;
}

describe('a log', () => {
  it('has the headers of its first segment, wherever the making of that file was cut off', () => {
    const whole = firstSegment();
    expect(whole.subarray(0, 40).equals(Buffer.alloc(40))).toBe(false);
    expect(firstSegment(Buffer.alloc(0)).equals(whole)).toBe(true);
    expect(firstSegment(Buffer.alloc(whole.length)).equals(whole)).toBe(true);
    const halfOfTheHeaders = Buffer.concat([whole.subarray(0, 40), Buffer.alloc(whole.length - 40)]);
    expect(firstSegment(halfOfTheHeaders).equals(whole)).toBe(true);
  });
});
