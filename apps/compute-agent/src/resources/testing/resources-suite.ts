/** What every implementation of the port must do, whatever it can enforce. */
import { spawn } from 'node:child_process';
import { systemClock } from '@coppice/service-kit';
import type { ComputeResources, ResourceGroup } from '../compute-resources';

const GIB = 1024 ** 3;

export interface ResourcesUnderTest {
  readonly resources: ComputeResources;
  /** Whether it can hold a compute to a size. */
  readonly enforces: boolean;
}

/** A shell that keeps forking children which burn CPU, and then one that only waits. */
function burner(): { readonly pid: number; readonly end: () => Promise<void> } {
  const child = spawn('sh', ['-c', 'while :; do :; done & while :; do :; done & wait'], {
    detached: true,
    stdio: 'ignore',
  });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    pid: child.pid!,
    end: async () => {
      process.kill(-child.pid!, 'SIGKILL');
      await gone;
    },
  };
}

export function resourcesSuite(name: string, open: () => ResourcesUnderTest): void {
  describe(name, () => {
    let it_: ResourcesUnderTest;
    let group: ResourceGroup;
    let process_: ReturnType<typeof burner>;
    beforeAll(() => void (it_ = open()));
    afterAll(() => it_?.resources.close());
    beforeEach(async () => {
      group = it_.resources.group('0123456789ab');
      process_ = burner();
      await group.add(process_.pid);
    });
    afterEach(async () => {
      await process_.end();
      group.discard();
    });
    const cpusOver = async (ms: number): Promise<number> => {
      const before = group.usage();
      await systemClock.sleep(ms);
      const after = group.usage();
      return (1000 * (after.cpuSeconds - before.cpuSeconds)) / (after.atMs - before.atMs);
    };

    it('counts what a process and its children use', async () => {
      expect(await cpusOver(500)).toBeGreaterThan(0.05);
    });

    it('holds them to a size at once, to another one after, and to none when that is lifted', async () => {
      const memory = { soft: GIB, hard: GIB };
      await group.resize({ cpus: 0.25, memory });
      await systemClock.sleep(200);
      const before = group.usage();
      const held = await cpusOver(1_000);
      if (it_.enforces) {
        expect(held).toBeLessThan(0.32);
        expect(group.usage().throttledPeriods - before.throttledPeriods).toBeGreaterThan(3);
        expect(group.usage().throttledSeconds).toBeGreaterThan(before.throttledSeconds);
      }
      await group.resize({ cpus: 0.5, memory: { soft: GIB, hard: 2 * GIB } });
      await systemClock.sleep(200);
      if (it_.enforces) expect(await cpusOver(1_000)).toBeLessThan(0.62);
      await group.resize(undefined);
      const lifted = group.usage().throttledPeriods;
      await systemClock.sleep(300);
      expect(group.usage().throttledPeriods - lifted).toBeLessThanOrEqual(1);
    });

    it('a process that has ended already is nobody', async () => {
      const gone = spawn('true');
      await new Promise((resolve) => gone.once('exit', resolve));
      await group.add(gone.pid!);
    });

    it('a look costs microseconds', () => {
      const took = Array.from({ length: 200 }, () => {
        const began = systemClock.monotonic();
        group.usage();
        return systemClock.monotonic() - began;
      }).sort((a, b) => a - b);
      console.info(`${name}: a look takes ${(1000 * took[100]!).toFixed(0)} µs`);
      expect(took[100]).toBeLessThan(5);
    });

    it('leaves nothing, also when its processes live a little longer', async () => {
      const other = it_.resources.group('ba9876543210');
      const lasting = burner();
      await other.add(lasting.pid);
      other.discard();
      await systemClock.sleep(50);
      await lasting.end();
      await it_.resources.removeLeftovers();
      group.discard();
      await process_.end();
      process_ = burner();
      group = it_.resources.group('cccccccccccc');
      await group.add(process_.pid);
    });
  });
}
