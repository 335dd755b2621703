import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, systemClock } from '@coppice/service-kit';
import { cgroup2 } from './cgroup-dialect';
import { ControlGroups, nameOfAgent } from './control-groups';
import { hierarchiesIn } from './hierarchies';
import { NoLimits } from './no-limits';
import { openResources } from './open-resources';
import { resourcesSuite } from './testing/resources-suite';

jest.setTimeout(60_000);

const opened = openResources({ group: '', clock: systemClock, log: silentLog() });

// Whichever version of control groups this machine has, by the kernel itself.
if (opened.kind !== 'none') resourcesSuite(opened.kind, () => ({ resources: opened, enforces: true }));
resourcesSuite('no limits', () => ({
  resources: new NoLimits({ nodeCpus: 2, clock: systemClock }),
  enforces: false,
}));

(opened.kind === 'none' ? describe.skip : describe)('groups of an agent that was killed', () => {
  it('are removed by the next, and those of one that lives are not', async () => {
    const next = openResources({ group: '', clock: systemClock, log: silentLog() });
    const { v1, v2 } = hierarchiesIn(
      readFileSync('/proc/self/mountinfo', 'utf8'),
      readFileSync('/proc/self/cgroup', 'utf8'),
      '',
    );
    const base = next.kind === 'cgroup v1' ? v1['cpu']! : v2!;
    const [dead, alive] = [join(base, nameOfAgent(2 ** 22 + 1)), join(base, nameOfAgent(process.ppid))];
    for (const directory of [dead, alive]) mkdirSync(join(directory, '0123456789ab'), { recursive: true });
    await next.removeLeftovers();
    expect([existsSync(dead), existsSync(alive)]).toEqual([false, true]);
    for (const directory of [join(alive, '0123456789ab'), alive]) rmdirSync(directory);
    await next.close();
    expect(readdirSync(base)).not.toContain(nameOfAgent(process.pid));
  });
});

/** No kernel is behind it: a directory whose files have the names of version 2, to see what is written and read. */
describe('cgroup v2, of files alone', () => {
  const root = mkdtempSync(join(tmpdir(), 'cpr-'));
  const parent = join(root, nameOfAgent(process.pid));
  const file = (name: string) => readFileSync(join(parent, 'a-1', name), 'utf8');
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('of a compute that is given up while it is put there keeps no counter open', async () => {
    const dialect = cgroup2(parent, true);
    const groups = new ControlGroups({ dialect, nodeCpus: 2, clock: systemClock, log: silentLog() });
    mkdirSync(join(parent, 'b-1'), { recursive: true });
    for (const name of ['cpu.stat', 'memory.stat']) writeFileSync(join(parent, 'b-1', name), '');
    const group = groups.group('b');
    const added = group.add(process.pid);
    group.discard();
    await added;
    const open = readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        return [];
      }
    });
    expect(open.filter((path) => path.startsWith(root))).toEqual([]);
    expect(() => group.usage()).toThrow('no process yet');
    await groups.close();
  });

  it('is told sizes, and tells what is used, under the names that the kernel has for them', async () => {
    mkdirSync(join(parent, 'a-1'), { recursive: true });
    const dialect = cgroup2(parent, true);
    expect(dialect.weightOfAll(2)).toEqual({ path: join(parent, 'cpu.weight'), value: '1600' });
    writeFileSync(
      join(parent, 'a-1', 'cpu.stat'),
      'usage_usec 2500000\nuser_usec 1\nnr_periods 40\nnr_throttled 12\nthrottled_usec 750000\nnr_bursts 0\n',
    );
    writeFileSync(
      join(parent, 'a-1', 'memory.stat'),
      'anon 1000\nfile 5000000\nkernel_stack 10\npagetables 20\nshmem 300\nactive_file 9\nslab_reclaimable 7\nslab_unreclaimable 4\nworkingset_refault_anon 5\nworkingset_refault_file 3\n',
    );
    const group = new ControlGroups({ dialect, nodeCpus: 2, clock: systemClock, log: silentLog() }).group(
      'a',
    );
    await group.add(process.pid);
    expect(file('cgroup.procs')).toMatch(/^\d+$/);
    expect(group.usage()).toEqual({
      atMs: expect.any(Number) as number,
      cpuSeconds: 2.5,
      periods: 40,
      throttledPeriods: 12,
      throttledSeconds: 0.75,
      heldBytes: 1334,
      refaultedBytes: 3 * 4096,
    });
    await group.resize({ cpus: 0.25, memory: { soft: 1000, hard: 4000 } });
    expect(['cpu.max', 'cpu.max.burst', 'cpu.weight', 'memory.high', 'memory.max'].map(file)).toEqual([
      '25000 100000',
      '25000',
      '25',
      '1000',
      '4000',
    ]);
    await group.resize(undefined);
    expect(['cpu.max', 'cpu.max.burst', 'memory.high', 'memory.max'].map(file)).toEqual([
      'max 100000',
      '0',
      'max',
      'max',
    ]);
  });
});
