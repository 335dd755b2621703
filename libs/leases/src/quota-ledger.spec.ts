import { type Counts, NO_COUNTS, plus } from '@coppice/quotas';
import { CoppiceError, silentLog } from '@coppice/service-kit';
import { EmbeddedQuotaStore } from './embedded/embedded-quota-store';
import { type Inserted, QuotaLedger } from './quota-ledger';
import { ManualClock } from './suite/manual-clock';

const LIMITS = { branches: 2 };

function setUp(rows: Counts = NO_COUNTS) {
  const clock = new ManualClock();
  const store = new EmbeddedQuotaStore(clock);
  const truth = { epoch: 1, rows, recounts: 0 };
  const ledger = new QuotaLedger({
    store,
    truth: {
      advance: async (agentId, above) => {
        if (agentId === 'nobody') return undefined;
        truth.recounts += 1;
        truth.epoch = Math.max(truth.epoch, above) + 1;
        return { epoch: truth.epoch, counts: truth.rows };
      },
    },
    log: silentLog(),
    clock,
  });
  const insert = async (epoch: number): Promise<Inserted<string>> => {
    if (epoch !== truth.epoch) return { kind: 'stale' };
    truth.rows = plus(truth.rows, { branches: 1 });
    return { kind: 'committed', value: 'made' };
  };
  const spend = (by = insert): Promise<string> =>
    ledger.spend({ agentId: 'a', wants: { branches: 1 }, limits: LIMITS }, by);
  return { clock, store, truth, ledger, insert, spend };
}

it('counts an agent that the store does not know, once for all who ask at the same time', async () => {
  const { truth, spend } = setUp({ ...NO_COUNTS, branches: 1 });
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => spend()));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(truth).toMatchObject({ recounts: 1, rows: { branches: 2 } });
});

it('refuses at the limit and says what is used and what to do', async () => {
  const { spend } = setUp();
  await spend();
  await spend();
  await expect(spend()).rejects.toMatchObject({
    kind: 'QuotaExceeded',
    code: 'quota-exceeded',
    message: 'this agent has 2 of at most 2 branches and asks for 1 more',
    remedy: expect.stringContaining('Delete branches') as string,
  });
});

it('starts again when its epoch is gone, and recounts when nobody else does', async () => {
  const { truth, spend } = setUp();
  await spend();
  truth.epoch = 40;
  expect(await spend()).toBe('made');
  expect(truth.epoch).toBe(41);
});

it('gets past counters of an epoch that the database does not have any more', async () => {
  const { store, truth, spend } = setUp();
  await store.rebuild('a', NO_COUNTS, 900);
  expect(await spend()).toBe('made');
  expect(truth.epoch).toBe(901);
});

it('gives a reservation back when the insert was refused', async () => {
  const { store, spend } = setUp();
  const refused = new CoppiceError('Conflict', 'name-taken', 'there is one already');
  await expect(spend(() => Promise.reject(refused))).rejects.toBe(refused);
  expect((await store.read('a'))?.counts.branches).toBe(0);
});

it('keeps a reservation while it is open whether the insert committed, and recounts before it refuses over it', async () => {
  const { store, truth, spend } = setUp();
  const lost = new CoppiceError('Unavailable', 'metadata-unavailable', 'the connection is lost');
  await expect(spend(() => Promise.reject(lost))).rejects.toBe(lost);
  expect((await store.read('a'))?.counts.branches).toBe(1);
  await spend();
  expect(await spend()).toBe('made');
  expect(truth.rows.branches).toBe(2);
  await expect(spend()).rejects.toMatchObject({ kind: 'QuotaExceeded' });
});

it('recounts a refused agent once a minute at most', async () => {
  const { clock, truth, spend } = setUp({ ...NO_COUNTS, branches: 2 });
  for (let i = 0; i < 10; i++) await expect(spend()).rejects.toMatchObject({ kind: 'QuotaExceeded' });
  expect(truth.recounts).toBe(1);
  await clock.advance(61_000);
  for (let i = 0; i < 10; i++) await expect(spend()).rejects.toMatchObject({ kind: 'QuotaExceeded' });
  expect(truth.recounts).toBe(2);
});

it('does not fail over a release that does not arrive', async () => {
  const { store, ledger } = setUp();
  jest
    .spyOn(store, 'release')
    .mockRejectedValue(new CoppiceError('Unavailable', 'quota-store-unavailable', 'no'));
  await ledger.giveBack('a', { branches: 1 }, 1);
});

it('says that there is no such agent', async () => {
  const { ledger, insert } = setUp();
  const spending = { agentId: 'nobody', wants: { branches: 1 }, limits: {} };
  await expect(ledger.spend(spending, insert)).rejects.toMatchObject({ code: 'agent-not-found' });
  expect(await ledger.recount('nobody')).toBeUndefined();
});

it('lets one who gives up go while the recount goes on for the others', async () => {
  const { ledger, spend, insert } = setUp();
  const gone = new AbortController();
  const spending = { agentId: 'a', wants: { branches: 1 }, limits: LIMITS, signal: gone.signal };
  const first = ledger.spend(spending, insert);
  const second = spend();
  gone.abort(new Error('gone'));
  await expect(first).rejects.toThrow('gone');
  expect(await second).toBe('made');
});
