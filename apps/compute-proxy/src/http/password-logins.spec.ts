import { deriveVerifier } from '@coppice/postgres';
import { CoppiceError, systemRandom } from '@coppice/service-kit';
import { GuessLimit } from '../limits/guess-limit';
import { PasswordLogins } from './password-logins';

/** A clock that stands until it is moved. */
class StandingClock {
  ms = 1_000_000;
  readonly now = (): number => this.ms;
  readonly monotonic = (): number => this.ms;
  readonly sleep = (): Promise<void> => Promise.resolve();
}

const login = { endpoint: 'ep-a', role: 'app', database: 'd', password: 's3cret' };

async function world() {
  const clock = new StandingClock();
  const verifier = await deriveVerifier('s3cret', Buffer.from('0123456789abcdef'), 1_000);
  const seen = { lookUps: 0, revoked: false, expiresUnixMs: 0, failure: undefined as Error | undefined };
  const logins = new PasswordLogins({
    lookUp: async () => {
      seen.lookUps += 1;
      if (seen.failure) throw seen.failure;
      const { expiresUnixMs } = seen;
      const credential = { ...verifier, credentialId: 'c', expiresUnixMs, readOnly: false, connectAs: 'app' };
      return { branchId: 'br', agentId: 'agent', verifiers: seen.revoked ? [] : [credential] };
    },
    guesses: new GuessLimit({ perSecond: 1, burst: 3, clock }),
    clock,
    random: systemRandom,
  });
  const attempt = (over: object = {}, from = '10.0.0.1'): Promise<string> =>
    logins.verify({ ...login, ...over }, from).then(
      ({ credentialId }) => credentialId,
      (error: CoppiceError) => error.code,
    );
  return { clock, seen, attempt };
}

it('a right password is looked up once for many requests', async () => {
  const { seen, attempt } = await world();
  expect(await Promise.all(Array.from({ length: 50 }, () => attempt()))).toEqual(Array(50).fill('c'));
  expect(seen.lookUps).toBe(1);
});

it('a revoked credential works for no longer than five seconds', async () => {
  const { clock, seen, attempt } = await world();
  expect(await attempt()).toBe('c');
  seen.revoked = true;
  clock.ms += 4_999;
  expect(await attempt()).toBe('c');
  clock.ms += 1;
  expect(await attempt()).toBe('wrong-password');
});

it('an expired credential does not work at all', async () => {
  const { clock, seen, attempt } = await world();
  seen.expiresUnixMs = clock.ms + 1_000;
  expect(await attempt()).toBe('c');
  clock.ms += 1_000;
  seen.revoked = true;
  expect(await attempt()).toBe('wrong-password');
});

it('guesses are limited, right ones do not count, others are not kept out', async () => {
  const { clock, attempt } = await world();
  for (let i = 0; i < 5; i += 1) expect(await attempt({ database: `d${i}` })).toBe('c');
  for (let i = 0; i < 3; i += 1) expect(await attempt({ password: `guess ${i}` })).toBe('wrong-password');
  expect(await attempt({ password: 'guess' })).toBe('too-many-wrong-passwords');
  expect(await attempt({ database: 'another' })).toBe('too-many-wrong-passwords');
  expect(await attempt({ password: 'guess' }, '10.0.0.2')).toBe('wrong-password');
  // Whoever was let in before is not asked again.
  expect(await attempt({ database: 'd0' })).toBe('c');
  clock.ms += 1_000;
  expect(await attempt({ password: 'guess' })).toBe('wrong-password');
});

it('many guesses at once are as many guesses', async () => {
  const { attempt } = await world();
  const codes = await Promise.all(Array.from({ length: 20 }, (_, i) => attempt({ password: `guess ${i}` })));
  expect(codes.filter((code) => code === 'wrong-password')).toHaveLength(3);
});

it('a login that could not be looked up is neither a guess nor remembered', async () => {
  const { seen, attempt } = await world();
  seen.failure = new CoppiceError('Unavailable', 'peer-unavailable', 'down');
  for (let i = 0; i < 10; i += 1) expect(await attempt()).toBe('peer-unavailable');
  seen.failure = undefined;
  expect(await attempt()).toBe('c');
});
