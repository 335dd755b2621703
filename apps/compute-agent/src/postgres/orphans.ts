import { readdirSync, readlinkSync } from 'node:fs';
import { type Clock, CoppiceError } from '@coppice/service-kit';

const PATIENCE_MS = 5_000;
const POLL_MS = 20;

/**
 * Ends every PostgreSQL process that still works in `directory`: what an agent left that was killed. A process belongs to
 * a data directory when that is its working directory; nothing else is touched.
 */
export async function endOrphans(directory: string, clock: Clock): Promise<number> {
  const found = processesIn(directory);
  const ended = found.length;
  const deadline = clock.monotonic() + PATIENCE_MS;
  for (let left = found; left.length > 0; left = processesIn(directory)) {
    if (clock.monotonic() > deadline) {
      throw new CoppiceError('Unavailable', 'orphan-lives', `processes ${left.join(', ')} in ${directory} do not end`, { remedy: 'End them by hand, then start the agent again.' });
    }
    for (const pid of left) send(pid, 'SIGKILL');
    await clock.sleep(POLL_MS);
  }
  return ended;
}

function processesIn(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const cwd = readlinkSync(`/proc/${pid}/cwd`);
        return cwd === directory || cwd.startsWith(`${directory}/`);
      } catch {
        // It ended meanwhile, or belongs to another user: not ours.
        return false;
      }
    });
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
