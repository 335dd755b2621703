import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { fencingToken, type FencingToken, type LeaseStore } from '../lease-store';

export interface LeaseStoreUnderTest {
  readonly store: LeaseStore;
  /** Lets time pass as the store sees it. */
  wait(ms: number): Promise<void>;
}

const LONG = 60_000;
const HOLDERS = ['a', 'b', 'c'] as const;

/** What every lease store must do. */
export function leaseStoreSuite(kind: string, open: () => Promise<LeaseStoreUnderTest>): void {
  describe(`lease store: ${kind}`, () => {
    let store: LeaseStore;
    let wait: LeaseStoreUnderTest['wait'];
    let name: string;
    beforeAll(async () => ({ store, wait } = await open()));
    beforeEach(() => (name = randomUUID()));
    const acquired = async (holder: string, ttlMs = LONG): Promise<FencingToken> => {
      const token = await store.acquire(name, holder, ttlMs);
      if (token === undefined) throw new Error(`${holder} does not get the lease`);
      return token;
    };

    it('gives a name to exactly one of many at once', async () => {
      const tokens = await Promise.all(
        Array.from({ length: 100 }, (_, i) => store.acquire(name, `h${i}`, LONG)),
      );
      expect(tokens.filter((token) => token !== undefined)).toHaveLength(1);
    });

    it('gives a name to the next holder once it is released', async () => {
      const first = await acquired('a');
      expect(await store.acquire(name, 'b', LONG)).toBeUndefined();
      await store.release(name, 'a', first);
      expect(await acquired('b')).toBeGreaterThan(first);
    });

    it('gives a name to the next holder once its time has passed', async () => {
      const first = await acquired('a', 40);
      await wait(60);
      expect(await acquired('b')).toBeGreaterThan(first);
      expect(await store.renew(name, 'a', first, LONG)).toBe(false);
    });

    it('holds a renewed lease beyond its first time', async () => {
      const token = await acquired('a', 500);
      await wait(200);
      expect(await store.renew(name, 'a', token, LONG)).toBe(true);
      await wait(500);
      expect(await store.acquire(name, 'b', LONG)).toBeUndefined();
    });

    it('does not bring back a lease whose time has passed', async () => {
      const token = await acquired('a', 40);
      await wait(60);
      expect(await store.renew(name, 'a', token, LONG)).toBe(false);
    });

    it('gives the same holder a new token and ends the old one', async () => {
      const first = await acquired('a');
      const second = await acquired('a');
      expect(second).toBeGreaterThan(first);
      expect(await store.renew(name, 'a', first, LONG)).toBe(false);
      await store.release(name, 'a', first);
      expect(await store.acquire(name, 'b', LONG)).toBeUndefined();
      expect(await store.renew(name, 'a', second, LONG)).toBe(true);
    });

    it('does not let another holder renew or release with a token it saw', async () => {
      const token = await acquired('a');
      expect(await store.renew(name, 'b', token, LONG)).toBe(false);
      await store.release(name, 'b', token);
      expect(await store.acquire(name, 'b', LONG)).toBeUndefined();
    });

    it('tells who holds a name, until it is released or its time has passed', async () => {
      expect(await store.holderOf(name)).toBeUndefined();
      const token = await acquired('a');
      expect(await store.holderOf(name)).toBe('a');
      await store.release(name, 'a', token);
      expect(await store.holderOf(name)).toBeUndefined();
      await acquired('b', 40);
      expect(await store.holderOf(name)).toBe('b');
      await wait(60);
      expect(await store.holderOf(name)).toBeUndefined();
    });

    it('gives tokens above what the caller remembers', async () => {
      const remembered = fencingToken(2 ** 52);
      expect(await store.acquire(name, 'a', LONG, { above: remembered })).toBe(remembered + 1);
      expect(await acquired('a')).toBe(remembered + 2);
    });

    it('gives strictly growing tokens, however fast', async () => {
      const tokens = await Promise.all(Array.from({ length: 500 }, () => acquired('a')));
      expect(new Set(tokens).size).toBe(500);
      expect([...tokens].sort((x, y) => x - y)).toEqual(tokens);
    });

    it('does nothing under a signal that fired', async () => {
      const signal = AbortSignal.abort(new Error('gone'));
      await expect(store.acquire(name, 'a', LONG, { signal })).rejects.toThrow('gone');
      await acquired('b');
    });

    it('has at most one holder at a time, as the model says', async () => {
      const command = fc.record({
        do: fc.constantFrom('acquire', 'renew', 'release'),
        holder: fc.constantFrom(...HOLDERS),
        /** Use the token of somebody else, or an older one. */
        token: fc.constantFrom('own', 'own', 'own', 'last', 'first'),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(command, { maxLength: 40 }), async (commands) => {
          name = randomUUID();
          const own = new Map<string, FencingToken>();
          const given: FencingToken[] = [];
          let held: { holder: string; token: FencingToken } | undefined;
          for (const { do: what, holder, token: which } of commands) {
            const token =
              { own: own.get(holder), last: given.at(-1), first: given[0] }[which] ?? fencingToken(1);
            const isIt = held?.holder === holder && held.token === token;
            if (what === 'acquire') {
              const got = await store.acquire(name, holder, LONG);
              expect(got !== undefined).toBe(held === undefined || held.holder === holder);
              if (got === undefined) continue;
              expect(got).toBeGreaterThan(given.at(-1) ?? 0);
              given.push(got);
              own.set(holder, got);
              held = { holder, token: got };
            } else if (what === 'renew') {
              expect(await store.renew(name, holder, token, LONG)).toBe(isIt);
            } else {
              await store.release(name, holder, token);
              if (isIt) held = undefined;
            }
          }
        }),
      );
    });
  });
}
