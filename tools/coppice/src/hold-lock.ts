import { spawnSync } from 'node:child_process';
import { Problem } from './problem';

/**
 * Takes the exclusive lock of an open file; false when others hold it. The kernel lets go of it when this process and all
 * that were given the open file have ended, however they ended.
 */
export function tryLock(fd: number): boolean {
  const { status, error } = spawnSync('flock', ['--exclusive', '--nonblock', '3'], {
    stdio: ['ignore', 'ignore', 'ignore', fd],
  });
  if (error) throw new Problem(`flock cannot be run (${error.message}): install util-linux`);
  return status === 0;
}
