import { controlContract, fleetContract } from '@coppice/contracts';
import { CoppiceError, type ErrorKind } from '@coppice/service-kit';
import { REPEATS } from './repeats';
import { DEFAULT_RETRIES, type Failure, pauseBeforeRetry } from './retry';

const failure = (kind: ErrorKind, rest: Partial<Failure> = {}): Failure => ({
  error: new CoppiceError(kind, 'code', 'text'),
  made: 1,
  repeat: 'plain',
  leftMs: 60_000,
  chance: 0.999,
  ...rest,
});
const pause = (f: Failure): number | undefined => pauseBeforeRetry(DEFAULT_RETRIES, f);

describe('a call that failed', () => {
  it('is made again only for errors that may pass', () => {
    for (const kind of ['Unavailable', 'NotYet', 'Locked'] as const)
      expect(pause(failure(kind))).toBeDefined();
    for (const kind of ['NotFound', 'Conflict', 'QuotaExceeded', 'Invalid', 'Internal', 'Forbidden'] as const)
      expect(pause(failure(kind))).toBeUndefined();
  });

  it('waits at random up to a bound that doubles, and no longer than the policy says', () => {
    const bounds = [1, 2, 3, 4].map((made) => pause(failure('Unavailable', { made })));
    expect(bounds).toEqual([99, 199, 399, 799]);
    expect(pause(failure('Unavailable', { chance: 0 }))).toBe(0);
    const patient = { attempts: 100, baseMs: 100, maxMs: 5_000 };
    expect(pauseBeforeRetry(patient, failure('Unavailable', { made: 50 }))).toBe(4995);
  });

  it('is given up after as many calls as the policy says, or when no time is left', () => {
    expect(pause(failure('Unavailable', { made: 5 }))).toBeUndefined();
    expect(pause(failure('Unavailable', { leftMs: 50 }))).toBeUndefined();
  });

  it('that must not happen twice is made again only when the server did nothing', () => {
    expect(pause(failure('Unavailable', { repeat: 'refused' }))).toBeUndefined();
    expect(pause(failure('Locked', { repeat: 'refused' }))).toBeDefined();
    expect(pause(failure('Unavailable', { repeat: 'keyed' }))).toBeDefined();
  });
});

it('every method of the contracts says whether it may be asked twice', () => {
  const methods = [...Object.keys(controlContract.methods), ...Object.keys(fleetContract.methods)];
  expect(Object.keys(REPEATS).sort()).toEqual(methods.sort());
});
