import { silentLog, systemClock } from '@coppice/service-kit';
import { LiveCredentials } from './live-credentials';

const signal = new AbortController().signal;

function world(answer: (ids: readonly string[]) => readonly string[] | Error, now = 1_000) {
  const asked: (readonly string[])[] = [];
  const live = new LiveCredentials({
    findEnded: async (ids) => {
      asked.push(ids);
      const given = answer(ids);
      if (given instanceof Error) throw given;
      return given;
    },
    clock: { ...systemClock, now: () => now },
    log: silentLog(),
  });
  const ended: string[] = [];
  const session = (credentialId: string, name: string, expiresUnixMs = 0) =>
    live.add({ credentialId, expiresUnixMs, end: () => void ended.push(name) });
  return { live, asked, ended, session };
}

describe('sessions', () => {
  it('end with their credential, all of them and only those', async () => {
    const { live, asked, ended, session } = world(() => ['a']);
    session('a', 'one');
    session('a', 'two');
    session('b', 'three');
    await live.check(signal);
    expect(ended).toEqual(['one', 'two']);
    await live.check(signal);
    expect(asked).toEqual([['a', 'b'], ['b']]);
    expect(ended).toEqual(['one', 'two']);
  });

  it('that are over are not asked about', async () => {
    const { live, asked, session } = world(() => []);
    const gone = session('a', 'one');
    session('b', 'two');
    gone();
    await live.check(signal);
    expect(asked).toEqual([['b']]);
  });

  it('end at the expiry they were told when nobody answers, and not before', async () => {
    const { live, ended, session } = world(() => new Error('down'));
    session('a', 'expired', 999);
    session('b', 'later', 1_001);
    session('c', 'never');
    session('d', 'renewed', 999);
    session('d', 'renewed too', 5_000);
    await expect(live.check(signal)).rejects.toThrow('down');
    expect(ended).toEqual(['expired']);
  });

  it('end at their expiry when nobody answers, however many there are', async () => {
    const { live, asked, ended, session } = world(() => new Error('down'));
    for (let i = 0; i < 10_000; i += 1) session(`c${i}`, 's');
    session('last', 'expired', 999);
    await expect(live.check(signal)).rejects.toThrow('down');
    expect([asked.length, ended]).toEqual([1, ['expired']]);
  });

  it('of many credentials are asked about in batches', async () => {
    const { live, asked, session } = world(() => []);
    for (let i = 0; i < 10_001; i += 1) session(`c${i}`, 's');
    await live.check(signal);
    expect(asked.map((ids) => ids.length)).toEqual([10_000, 1]);
  });
});
