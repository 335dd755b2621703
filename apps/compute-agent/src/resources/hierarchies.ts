/**
 * Where this process's control groups are. Two files of the kernel's tell:
 *
 *   /proc/self/mountinfo   36 25 0:32 /docker/1f /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
 *                                     └ of the hierarchy, what is mounted └ where      └ type        └ controllers (v1)
 *   /proc/self/cgroup      4:memory:/docker/1f/x      the group of this process in that hierarchy
 *                          0::/user.slice             in that of v2
 */
import { join } from 'node:path';

export interface Hierarchies {
  /** Directory of this process's own group, or of the one that was named. */
  readonly v2: string | undefined;
  /** The same by controller. */
  readonly v1: Readonly<Record<string, string>>;
}

/** `group`: a path within each hierarchy; empty for this process's own. */
export function hierarchiesIn(mountinfo: string, own: string, group: string): Hierarchies {
  const paths = new Map<string, string>();
  for (const line of own.split('\n').filter(Boolean)) {
    const [, controllers = '', ...path] = line.split(':');
    for (const controller of controllers.split(',')) paths.set(controller, path.join(':'));
  }
  let v2: string | undefined;
  const v1: Record<string, string> = {};
  for (const line of mountinfo.split('\n').filter(Boolean)) {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root = '', at = ''] = before.split(' ');
    const [type, , options = ''] = after.split(' ');
    const directory = (controller: string): string =>
      group === '' ? join(at, below(root, paths.get(controller) ?? '/')) : join(at, group);
    if (type === 'cgroup2') v2 ??= directory('');
    if (type === 'cgroup')
      for (const name of options.split(',').filter((o) => paths.has(o))) v1[name] ??= directory(name);
  }
  return { v2, v1 };
}

/** `path` within what is mounted of `root`; all of it when `path` lies outside, as seen from a namespace. */
function below(root: string, path: string): string {
  if (root === '/') return path.startsWith('/..') ? '/' : path;
  return path === root || path.startsWith(`${root}/`) ? path.slice(root.length) : '/';
}
