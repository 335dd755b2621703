import { BackgroundLoop } from './background-loop';
import type { Clock } from './clock';
import { CoppiceError } from './errors';
import type { Log } from './log';

/** Runs rounds that fail as told, a second apart; gives the levels at which they were logged. */
async function levels(failures: readonly (Error | undefined)[]): Promise<string[]> {
  let now = 0;
  const logged: string[] = [];
  const log = { debug: () => logged.push('debug'), warn: () => logged.push('warn') } as unknown as Log;
  const clock = {
    now: () => now,
    monotonic: () => now,
    sleep: async () => void (now += 1_000),
  } as Clock;
  let round = 0;
  await new Promise<void>((resolve) => {
    const loop: BackgroundLoop = new BackgroundLoop({
      name: 'test',
      everyMs: 1_000,
      log,
      clock,
      run: async () => {
        const failure = failures[round];
        round += 1;
        if (round > failures.length) return void loop.stop().then(resolve);
        if (failure) throw failure;
      },
    });
    loop.start();
  });
  return logged;
}

const absent = new CoppiceError('Unavailable', 'peer-unavailable', 'not there');

describe('a background round', () => {
  it('that fails is worth a warning each time', async () => {
    expect(await levels([new Error('x'), undefined, new Error('y')])).toEqual(['warn', 'warn']);
  });
  it('that finds nobody there is worth one only when that lasts', async () => {
    const logged = await levels(Array.from({ length: 32 }, () => absent));
    expect(logged.slice(0, 30)).toEqual(Array.from({ length: 30 }, () => 'debug'));
    expect(logged.slice(30)).toEqual(['warn', 'warn']);
  });
  it('counts absence anew after a round that went well', async () => {
    const logged = await levels([
      ...Array.from({ length: 20 }, () => absent),
      undefined,
      ...Array.from({ length: 20 }, () => absent),
    ]);
    expect(new Set(logged)).toEqual(new Set(['debug']));
  });
});
