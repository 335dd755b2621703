import { NO_COUNTS } from '@coppice/quotas';
import { leaseStoreSuite } from '../suite/lease-store-suite';
import { ManualClock } from '../suite/manual-clock';
import { quotaStoreSuite } from '../suite/quota-store-suite';
import { EmbeddedLeaseStore } from './embedded-lease-store';
import { EmbeddedQuotaStore } from './embedded-quota-store';

quotaStoreSuite('embedded', async () => {
  const clock = new ManualClock();
  return { store: new EmbeddedQuotaStore(clock), wait: (ms) => clock.advance(ms) };
});

leaseStoreSuite('embedded', async () => {
  const clock = new ManualClock();
  return { store: new EmbeddedLeaseStore(clock), wait: (ms) => clock.advance(ms) };
});

it('forgets the agents not seen for longest rather than growing without bound', async () => {
  const store = new EmbeddedQuotaStore(new ManualClock(), 3);
  for (const agent of ['a', 'b', 'c']) await store.rebuild(agent, NO_COUNTS, 1);
  await store.read('a');
  await store.rebuild('d', NO_COUNTS, 1);
  const known = await Promise.all(['a', 'b', 'c', 'd'].map((agent) => store.read(agent)));
  expect(known.map((counters) => counters !== undefined)).toEqual([true, false, true, true]);
});

it('gives growing tokens when the clock steps back, and when it starts anew', async () => {
  const clock = new ManualClock();
  const store = new EmbeddedLeaseStore(clock);
  const first = await store.acquire('n', 'a', 10);
  clock.jump(-3_600_000);
  const second = await store.acquire('n', 'a', 10);
  expect(second).toBeGreaterThan(first!);
  clock.jump(3_600_001);
  const fresh = new EmbeddedLeaseStore(clock);
  expect(await fresh.acquire('n', 'b', 10)).toBeGreaterThan(second!);
});

it('forgets names a day after their leases ended', async () => {
  const clock = new ManualClock();
  const store = new EmbeddedLeaseStore(clock);
  const token = await store.acquire('n', 'a', 10, { above: 2 ** 52 });
  clock.jump(3_600_000);
  expect(await store.acquire('n', 'b', 10)).toBe(token! + 1);
  clock.jump(25 * 3_600_000);
  expect(await store.acquire('n', 'b', 10)).toBeLessThan(2 ** 52);
});
