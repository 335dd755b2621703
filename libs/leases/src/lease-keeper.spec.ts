import { CoppiceError, silentLog } from '@coppice/service-kit';
import { EmbeddedLeaseStore } from './embedded/embedded-lease-store';
import { type HeldLease, LeaseKeeper } from './lease-keeper';
import type { LeaseStore } from './lease-store';
import { ManualClock } from './suite/manual-clock';

const TTL = 3_000;

function setUp(wrap: (store: LeaseStore) => Partial<LeaseStore> = () => ({})) {
  const clock = new ManualClock();
  const store = new EmbeddedLeaseStore(clock);
  const wrapped: LeaseStore = {
    acquire: (...args) => store.acquire(...args),
    renew: (...args) => store.renew(...args),
    release: (...args) => store.release(...args),
    holderOf: (...args) => store.holderOf(...args),
    ...wrap(store),
  };
  const keeper = new LeaseKeeper({ store: wrapped, holder: 'me', ttlMs: TTL, log: silentLog(), clock });
  const held = async (): Promise<HeldLease> => {
    const lease = await keeper.acquire('n');
    if (!lease) throw new Error('the lease is not to be had');
    return lease;
  };
  return { clock, store, keeper, held };
}

const down = (): Promise<never> =>
  Promise.reject(new CoppiceError('Unavailable', 'lease-store-unavailable', 'no answer'));

it('holds a lease for as long as it is wanted, then lets others have it at once', async () => {
  const { clock, store, held } = setUp();
  const lease = await held();
  for (let i = 0; i < 20; i++) {
    await clock.advance(1_000);
    expect(await store.acquire('n', 'other', TTL)).toBeUndefined();
  }
  expect(lease.ended.aborted).toBe(false);
  await lease.release();
  expect(lease.ended.aborted).toBe(true);
  expect(await store.acquire('n', 'other', TTL)).toBeGreaterThan(lease.token);
});

it('tells at the next renewal that somebody else has the lease', async () => {
  const { clock, store, held } = setUp();
  const lease = await held();
  await store.acquire('n', 'me', TTL);
  await clock.advance(TTL / 3 - 1);
  expect(lease.ended.aborted).toBe(false);
  await clock.advance(1);
  await clock.advance(0);
  expect(lease.ended.aborted).toBe(true);
});

it('keeps a lease over a store that is away for less than its time', async () => {
  let away = false;
  const { clock, held } = setUp((store) => ({
    renew: (...args) => (away ? down() : store.renew(...args)),
  }));
  const lease = await held();
  for (let i = 0; i < 5; i++) {
    away = true;
    await clock.advance(1_900);
    away = false;
    await clock.advance(1_100);
  }
  expect(lease.ended.aborted).toBe(false);
});

it.each([
  ['fails', down],
  ['hangs', () => new Promise<never>(() => undefined)],
])('gives a lease up at its time, not later, when the store %s', async (_how, renew) => {
  const { clock, held } = setUp(() => ({ renew }));
  const lease = await held();
  await clock.advance(TTL - 1);
  expect(lease.ended.aborted).toBe(false);
  await clock.advance(1);
  await clock.advance(0);
  expect(lease.ended.aborted).toBe(true);
});

it('counts the time of a lease from before it was asked for', async () => {
  const { clock, held } = setUp((store) => ({
    acquire: async (...args) => {
      const token = await store.acquire(...args);
      await clock.sleep(2_000);
      return token;
    },
    renew: down,
  }));
  const acquiring = held();
  await clock.advance(2_000);
  const lease = await acquiring;
  await clock.advance(1_000);
  await clock.advance(0);
  expect(lease.ended.aborted).toBe(true);
});

it('gives one name to one task of a process only', async () => {
  const { keeper } = setUp();
  const leases = await Promise.all([keeper.acquire('n'), keeper.acquire('n')]);
  expect(leases.filter((lease) => lease !== undefined)).toHaveLength(1);
  expect(await keeper.acquire('n')).toBeUndefined();
  await leases.find((lease) => lease !== undefined)!.release();
  expect(await keeper.acquire('n')).toBeDefined();
});

it('ends every lease when it stops, also when the store cannot be told', async () => {
  const { keeper, held } = setUp(() => ({ release: down }));
  const lease = await held();
  await keeper.stop();
  expect(lease.ended.aborted).toBe(true);
});
