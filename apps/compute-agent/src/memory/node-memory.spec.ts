import { budgetBytes, hasRoomLeft, nodeMemory, readNodeMemory } from './node-memory';

const GIB = 1024 ** 3;
const meminfo = `MemTotal:       ${24 * 1024 * 1024} kB\nMemFree:          100 kB\nMemAvailable:   ${20 * 1024 * 1024} kB\n`;

describe('the memory of a node', () => {
  it('is that of the machine where no cgroup holds the agent to less', () => {
    const machine = { totalBytes: 24 * GIB, availableBytes: 20 * GIB };
    expect(nodeMemory({ meminfo, cgroup: undefined })).toEqual(machine);
    expect(nodeMemory({ meminfo, cgroup: { limit: 'max\n', used: '5\n', stat: '' } })).toEqual(machine);
    const v1 = { limit: '9223372036854771712\n', used: '5\n', stat: '' };
    expect(nodeMemory({ meminfo, cgroup: v1 })).toEqual(machine);
  });
  it('is that of the cgroup where one does, of which cached files could be had', () => {
    const cgroup = { limit: `${4 * GIB}\n`, used: `${3 * GIB}\n`, stat: `anon 5\ninactive_file ${GIB}\n` };
    expect(nodeMemory({ meminfo, cgroup })).toEqual({ totalBytes: 4 * GIB, availableBytes: 2 * GIB });
  });
  it('can be read here', () => {
    expect(readNodeMemory().totalBytes).toBeGreaterThan(100 * 1024 * 1024);
  });
});

describe('the budget of computes', () => {
  const node = { totalBytes: 20 * GIB, availableBytes: 15 * GIB };
  it('is what is configured, or a share of the total', () => {
    expect(budgetBytes({ configuredBytes: GIB, usedBytes: 0, node })).toBe(GIB);
    expect(budgetBytes({ configuredBytes: 0, usedBytes: 0, node })).toBe(14 * GIB);
  });
  it('is less where others have taken the memory', () => {
    const full = { totalBytes: 20 * GIB, availableBytes: 2 * GIB };
    expect(budgetBytes({ configuredBytes: 0, usedBytes: 3 * GIB, node: full })).toBe(4 * GIB);
    expect(
      budgetBytes({ configuredBytes: 0, usedBytes: 0, node: { totalBytes: GIB, availableBytes: 0 } }),
    ).toBe(0);
  });
  it('is not all: a machine that is full starts nothing', () => {
    expect(hasRoomLeft(node)).toBe(true);
    expect(hasRoomLeft({ totalBytes: 20 * GIB, availableBytes: 0.4 * GIB })).toBe(false);
  });
});
