import { hierarchiesIn } from './hierarchies';

const V1 = `24 21 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
25 24 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
26 24 0:24 /docker/1f /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
27 24 0:25 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
28 24 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`;
const OWN = '4:memory:/docker/1f/x\n3:cpu,cpuacct:/a:b\n1:name=systemd:/\n0::/user.slice\n';

describe('control groups are found', () => {
  it('where this process is, in each hierarchy, and in what is mounted of it', () => {
    const { v1, v2 } = hierarchiesIn(V1, OWN, '');
    expect(v1).toMatchObject({
      cpu: '/sys/fs/cgroup/cpu,cpuacct/a:b',
      cpuacct: '/sys/fs/cgroup/cpu,cpuacct/a:b',
      memory: '/sys/fs/cgroup/memory/x',
    });
    expect(v2).toBe('/sys/fs/cgroup/unified/user.slice');
  });
  it('where they are named', () => {
    const { v1, v2 } = hierarchiesIn(V1, OWN, '/coppice');
    expect([v1['memory'], v2]).toEqual(['/sys/fs/cgroup/memory/coppice', '/sys/fs/cgroup/unified/coppice']);
  });
  it('at the top of what is mounted when this process is outside of it', () => {
    expect(hierarchiesIn(V1, '4:memory:/elsewhere\n0::/../up\n', '')).toEqual({
      v1: { memory: '/sys/fs/cgroup/memory/' },
      v2: '/sys/fs/cgroup/unified/',
    });
  });
  it('nowhere when none are mounted', () => {
    expect(hierarchiesIn('', OWN, '')).toEqual({ v1: {}, v2: undefined });
  });
});
