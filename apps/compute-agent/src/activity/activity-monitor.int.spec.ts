/** When computes that nobody asks about are looked at for the first time, and a server that answers late. */
import { startPostgres, type TestPostgres } from '@coppice/testing';
import { Semaphore, silentLog, systemClock } from '@coppice/service-kit';
import { ADMIN_ROLE } from '../prepare/settings';
import { ActivityMonitor } from './activity-monitor';
import { firstPause, lastFirstLook } from './look-schedule';

const EVERY_MS = 100;
const COMPUTES = 4;

describe('first looks', () => {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startPostgres({ initdbArgs: [] });
    await postgres.query(`create role ${ADMIN_ROLE} superuser login`);
  });
  afterAll(() => postgres?.stop());

  /** Of all that start now: from when to when, milliseconds after that. */
  const watch = async (isBusy: (sinceMs: number) => boolean): Promise<readonly [number, number][]> => {
    const from = systemClock.monotonic();
    const since = (): number => systemClock.monotonic() - from;
    const looks: [number, number][] = [];
    const firstLooks = new Semaphore(1);
    const monitors = Array.from({ length: COMPUTES }, () => {
      const look: [number, number] = [0, 0];
      return new ActivityMonitor({
        socketDirectory: postgres.socketDirectory,
        everyMs: EVERY_MS,
        first: {
          begin: async () => {
            look[0] = since();
            await systemClock.sleep(20);
          },
          end: () => {
            look[1] = since();
            looks.push(look);
          },
        },
        firstLooks,
        isBusy: () => isBusy(since()),
        clock: systemClock,
        log: silentLog(),
      });
    });
    for (const monitor of monitors) monitor.start();
    while (looks.length < COMPUTES) await systemClock.sleep(20);
    await Promise.all(monitors.map((monitor) => monitor.stop(false)));
    return looks;
  };
  const expectInTurn = (looks: readonly [number, number][]): void => {
    for (const [n, [begin]] of looks.entries()) if (n > 0) expect(begin).toBeGreaterThanOrEqual(looks[n - 1]![1]);
  };

  it('come some time after the start, one compute after the other', async () => {
    const looks = await watch(() => false);
    expect(looks[0]![0]).toBeGreaterThan(firstPause(EVERY_MS) - EVERY_MS);
    expectInTurn(looks);
  });

  it('give way while others start', async () => {
    const looks = await watch((sinceMs) => sinceMs < 800);
    expect(looks[0]![0]).toBeGreaterThanOrEqual(800);
    expectInTurn(looks);
  });

  it('but not for ever', async () => {
    const looks = await watch(() => true);
    expect(looks[0]![0]).toBeGreaterThanOrEqual(lastFirstLook(EVERY_MS));
    expectInTurn(looks);
  });
});

describe('a server that opens no session in time', () => {
  it('does not answer for now, rather than being broken', async () => {
    const postgres = await startPostgres({ initdbArgs: [] });
    process.kill(postgres.pid!, 'SIGSTOP');
    try {
      const monitor = new ActivityMonitor({
        socketDirectory: postgres.socketDirectory,
        everyMs: EVERY_MS,
        firstLooks: new Semaphore(1),
        isBusy: () => false,
        clock: systemClock,
        log: silentLog(),
      });
      await expect(monitor.lookNow(new AbortController().signal)).rejects.toMatchObject({ kind: 'Unavailable', code: 'look-timed-out' });
      await monitor.stop(false);
    } finally {
      process.kill(postgres.pid!, 'SIGCONT');
      await postgres.dispose();
    }
  });
});
