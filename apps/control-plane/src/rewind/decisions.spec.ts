import type { BranchRow } from '@coppice/catalog';
import { CoppiceError } from '@coppice/service-kit';
import { lsn } from '@coppice/vocabulary';
import { forkRequest, isInPast, requestedTime } from '../forks/fork-request';
import { checkExpiry } from './expiry';
import { wayBack } from './way-back';

const NAMES = { lsn: 'source_lsn', time: 'source_timestamp', checkpoint: 'source_checkpoint' };
const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return (error as CoppiceError).code;
  }
  return '';
};

describe('where a request asks to go', () => {
  it('is the head when it says nothing', () => {
    const head = forkRequest({ lsn: undefined, unixMicros: 0 }, NAMES);
    expect([isInPast(head), requestedTime(head)]).toEqual([false, undefined]);
  });
  it('is one position, time or checkpoint', () => {
    expect(isInPast(forkRequest({ lsn: lsn(1n), unixMicros: 0 }, NAMES))).toBe(true);
    expect(isInPast(forkRequest({ lsn: undefined, unixMicros: 0, checkpoint: 'c' }, NAMES))).toBe(true);
    const timed = forkRequest({ lsn: undefined, unixMicros: 1_500_999 }, NAMES);
    expect(requestedTime(timed)?.getTime()).toBe(1_500);
  });
  it('is not two of them, which are named', () => {
    for (const two of [
      { lsn: lsn(1n), unixMicros: 1 },
      { lsn: lsn(1n), unixMicros: 0, checkpoint: 'c' },
      { lsn: undefined, unixMicros: 1, checkpoint: 'c' },
    ])
      expect(codeOf(() => forkRequest(two, NAMES))).toBe('two-fork-points');
    expect(() => forkRequest({ lsn: lsn(1n), unixMicros: 1 }, NAMES)).toThrow(
      'both source_lsn and source_timestamp are given',
    );
  });
});

describe('an expiry', () => {
  it('is in the future, or none', () => {
    expect(checkExpiry(0, 1_000)).toBeUndefined();
    expect(checkExpiry(9_000, 1_000)?.getTime()).toBe(9_000);
    for (const bad of [1, 1_000, 1_999, Number.MAX_SAFE_INTEGER])
      expect(codeOf(() => checkExpiry(bad, 1_000))).toBe('bad-expiry');
  });
});

describe('a position beyond the head of a branch', () => {
  const future = new CoppiceError('Invalid', 'lsn-in-future', 'not committed', {
    remedy: 'The latest is 0/1.',
  });
  const branch = (over: object): BranchRow =>
    ({ last_reset_at: 0, restored_as: null, ...over }) as unknown as BranchRow;
  const remedy = (of: BranchRow): string | undefined => (wayBack(future, of) as CoppiceError).remedy;

  it('may be one of a history that it was restored from, which is named', () => {
    expect(remedy(branch({}))).toContain('before-restore checkpoint');
    expect(remedy(branch({ restored_as: 'br-kept-oak-1' }))).toContain('br-kept-oak-1');
  });
  it('is nothing but that when it was never restored, and other errors stay as they are', () => {
    expect(wayBack(future, branch({ last_reset_at: null }))).toBe(future);
    const other = new Error('other');
    expect(wayBack(other, branch({}))).toBe(other);
  });
});
