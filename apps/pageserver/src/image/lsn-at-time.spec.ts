import { encodeCommitPosition, pgMicrosFromUnixMicros } from '@coppice/postgres';
import { commitTimeKey } from '@coppice/vocabulary';
import { MemoryTarget } from '../ingest/testing/memory-target';
import { lsnAtTime } from './lsn-at-time';

const NOON = 1_790_000_000_000_000n;
const LATER = NOON + 3_600_000_000n;

/** Commits by seconds after noon, in the order of the log; each ends 100 further. */
function history(...seconds: number[]): MemoryTarget {
  const target = new MemoryTarget();
  seconds.forEach((second, index) => {
    const micros = pgMicrosFromUnixMicros(NOON + BigInt(Math.round(second * 1e6)));
    const position = (index + 1) * 100;
    target.put(commitTimeKey(micros), position, { kind: 'image', bytes: encodeCommitPosition(position) });
  });
  return target;
}

const find = (target: MemoryTarget, second: number, lsn = 10_000): Promise<unknown> =>
  lsnAtTime(target, { lsn, unixMicros: NOON + BigInt(Math.round(second * 1e6)), nowUnixMicros: LATER });

describe('the position at a time', () => {
  it('is behind the commit of exactly that time', async () => {
    await expect(find(history(1, 2, 3), 2)).resolves.toEqual({ lsn: 200, unixMicros: NOON + 2_000_000n });
  });

  it('between two commits is behind the first, by a microsecond too', async () => {
    await expect(find(history(10, 20, 30), 29.999999)).resolves.toMatchObject({ lsn: 200 });
    await expect(find(history(10, 20, 30), 20.000001)).resolves.toMatchObject({ lsn: 200 });
    await expect(find(history(10, 20, 30), 19.999999)).resolves.toMatchObject({ lsn: 100 });
  });

  it('after the last commit is behind the last', async () => {
    await expect(find(history(10, 20, 30), 3000)).resolves.toMatchObject({ lsn: 300 });
  });

  it('includes every commit up to the time when two stand in the log the other way round', async () => {
    await expect(find(history(10, 20.0002, 20.0001, 40), 20.0005)).resolves.toMatchObject({ lsn: 300 });
    await expect(find(history(10, 20.0002, 20.0001, 40), 20.0001)).resolves.toMatchObject({ lsn: 300 });
  });

  it('looks at the history up to a position only', async () => {
    await expect(find(history(10, 20, 30), 3000, 250)).resolves.toMatchObject({ lsn: 200 });
  });

  it('before the first commit names the first', async () => {
    await expect(find(history(10, 20), 9.999999)).rejects.toMatchObject({
      kind: 'NotFound',
      code: 'before-first-commit',
      message: expect.stringContaining(new Date(Number(NOON / 1000n) + 10_000).toISOString().slice(0, 19)),
    });
  });

  it('without any commit is not found, and in the future is not asked', async () => {
    await expect(find(history(), 5)).rejects.toMatchObject({ kind: 'NotFound', code: 'no-commit-yet' });
    await expect(find(history(1), 7200)).rejects.toMatchObject({ kind: 'Invalid', code: 'time-in-future' });
  });

  it('is found with few looks at a long history', async () => {
    const target = history(...Array.from({ length: 5000 }, (_, i) => i * 2));
    let scans = 0;
    const counted = {
      read: target.read.bind(target),
      readAll: target.readAll.bind(target),
      readPage: target.readPage.bind(target),
      scan: (...range: Parameters<MemoryTarget['scan']>) => {
        scans += 1;
        return target.scan(...range);
      },
    };
    const at = { lsn: 1e9, unixMicros: NOON + 3_001_000_000n, nowUnixMicros: LATER };
    await expect(lsnAtTime(counted, at)).resolves.toMatchObject({ lsn: 1501 * 100 });
    expect(scans).toBeLessThan(60);
  });
});
