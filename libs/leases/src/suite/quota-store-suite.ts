import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { NO_COUNTS } from '@coppice/quotas';
import type { QuotaStore } from '../quota-store';
import { expectSameAsModel, quotaCommands } from './quota-model';

export interface QuotaStoreUnderTest {
  readonly store: QuotaStore;
  /** Lets time pass as the store sees it. */
  wait(ms: number): Promise<void>;
}

/** What every quota store must do. */
export function quotaStoreSuite(name: string, open: () => Promise<QuotaStoreUnderTest>): void {
  describe(`quota store: ${name}`, () => {
    let store: QuotaStore;
    let wait: QuotaStoreUnderTest['wait'];
    let agent: string;
    beforeAll(async () => ({ store, wait } = await open()));
    beforeEach(() => (agent = randomUUID()));

    it('does not know an agent it never saw', async () => {
      expect(await store.read(agent)).toBeUndefined();
      expect(await store.reserve(agent, { projects: 1 }, {})).toEqual({ kind: 'unknown' });
      await store.release(agent, { projects: 1 }, 1);
      expect(await store.read(agent)).toBeUndefined();
    });

    it('reserves all that is wanted or nothing', async () => {
      await store.rebuild(agent, { projects: 1, branches: 9, computes: 0 }, 3);
      const limits = { projects: 5, branches: 10 };
      expect(await store.reserve(agent, { projects: 1, branches: 2 }, limits)).toEqual({
        kind: 'exceeded',
        resource: 'branches',
        limit: 10,
        used: 9,
      });
      expect(await store.read(agent)).toEqual({
        epoch: 3,
        counts: { projects: 1, branches: 9, computes: 0 },
      });
      expect(await store.reserve(agent, { projects: 1, branches: 1, computes: 7 }, limits)).toEqual({
        kind: 'reserved',
        epoch: 3,
      });
      expect(await store.read(agent)).toEqual({
        epoch: 3,
        counts: { projects: 2, branches: 10, computes: 7 },
      });
    });

    it('gives 200 callers at once exactly what the limit allows', async () => {
      await store.rebuild(agent, NO_COUNTS, 1);
      const answers = await Promise.all(
        Array.from({ length: 200 }, () => store.reserve(agent, { branches: 1 }, { branches: 50 })),
      );
      expect(answers.filter(({ kind }) => kind === 'reserved')).toHaveLength(50);
      expect(answers.filter(({ kind }) => kind === 'exceeded')).toHaveLength(150);
      expect((await store.read(agent))?.counts.branches).toBe(50);
    });

    it('never holds more than the limit while many reserve and release at once', async () => {
      await store.rebuild(agent, NO_COUNTS, 1);
      let [held, most] = [0, 0];
      const worker = async (): Promise<void> => {
        for (let round = 0; round < 20; round++) {
          if ((await store.reserve(agent, { computes: 1 }, { computes: 5 })).kind !== 'reserved') continue;
          most = Math.max(most, ++held);
          await Promise.resolve();
          held--;
          await store.release(agent, { computes: 1 }, 1);
        }
      };
      await Promise.all(Array.from({ length: 40 }, worker));
      expect(most).toBeLessThanOrEqual(5);
      expect((await store.read(agent))?.counts).toEqual(NO_COUNTS);
    });

    it('lets a rebuild of the newest epoch win in whatever order they come', async () => {
      const epochs = [4, 9, 2, 7, 9, 1, 8];
      await Promise.all(
        epochs.map((epoch) => store.rebuild(agent, { ...NO_COUNTS, branches: epoch }, epoch)),
      );
      expect(await store.read(agent)).toEqual({ epoch: 9, counts: { ...NO_COUNTS, branches: 9 } });
      expect(await store.rebuild(agent, NO_COUNTS, 8)).toBe(9);
    });

    it('keeps agents apart', async () => {
      const other = randomUUID();
      await store.rebuild(agent, NO_COUNTS, 1);
      await store.rebuild(other, NO_COUNTS, 1);
      await store.reserve(agent, { projects: 3 }, {});
      await store.forget(agent);
      expect(await store.read(agent)).toBeUndefined();
      expect((await store.read(other))?.counts).toEqual(NO_COUNTS);
    });

    it('does as the model does', async () => {
      await fc.assert(
        fc.asyncProperty(quotaCommands, (commands) => expectSameAsModel(store, randomUUID(), commands)),
        { numRuns: 200 },
      );
    });

    it('refuses to do anything under a signal that fired', async () => {
      const gone = AbortSignal.abort(new Error('gone'));
      await expect(store.reserve(agent, {}, {}, gone)).rejects.toThrow('gone');
      await expect(store.rebuild(agent, NO_COUNTS, 1, gone)).rejects.toThrow('gone');
      expect(await store.read(agent)).toBeUndefined();
    });

    it('lets a burst pass, then says how long to wait', async () => {
      const take = (): ReturnType<QuotaStore['takeRequest']> => store.takeRequest(agent, 2, 3);
      const answers = await Promise.all(Array.from({ length: 20 }, take));
      expect(answers.filter(({ allowed }) => allowed)).toHaveLength(3);
      const refused = await take();
      if (refused.allowed) throw new Error('an empty bucket gave a request');
      expect(refused.retryAfterMs).toBeGreaterThan(0);
      expect(refused.retryAfterMs).toBeLessThanOrEqual(500);
      await wait(refused.retryAfterMs + 1);
      expect(await take()).toEqual({ allowed: true });
      expect(await take()).toMatchObject({ allowed: false });
    });

    it('fills a bucket up again, and no further', async () => {
      await Promise.all([1, 2].map(() => store.takeRequest(agent, 5, 2)));
      await wait(450);
      const answers = await Promise.all([1, 2, 3, 4].map(() => store.takeRequest(agent, 5, 2)));
      expect(answers.filter(({ allowed }) => allowed)).toHaveLength(2);
    });

    it('allows nothing at a rate of 0', async () => {
      expect(await store.takeRequest(agent, 0, 10)).toEqual({ allowed: false, retryAfterMs: 60_000 });
    });
  });
}
