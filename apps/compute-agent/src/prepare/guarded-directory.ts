import { closeSync, constants, openSync } from 'node:fs';
import { CoppiceError } from '@coppice/service-kit';

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Calls `use` with a path that stands for the directory `path` below `root`, whatever happens to those names meanwhile.
 *
 * A server's user owns what is in its data directory, and while the server runs may put a link in the place of any of it. The
 * agent may write everywhere. So it opens each directory on the way, itself and no link, and names files below that descriptor
 * (which leaves it to `use` not to follow the last name). Whoever is above `root` is trusted. Throws `Conflict` on a link.
 */
export function inDirectory<T>(root: string, path: string, use: (directory: string) => T): T {
  let fd = open(root, root);
  try {
    for (const part of path.split('/').filter(Boolean)) {
      const next = open(`/proc/self/fd/${fd}/${part}`, `${root}/${path}`);
      closeSync(fd);
      fd = next;
    }
    return use(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}

function open(directory: string, named: string): number {
  try {
    return openSync(directory, DIRECTORY);
  } catch (error) {
    if (!['ENOTDIR', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    throw new CoppiceError('Conflict', 'not-a-directory', `${named} leads through what is no directory`, {
      remedy: 'Suspend the endpoint: its next start makes its data directory anew.',
    });
  }
}
