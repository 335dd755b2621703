import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, CoppiceError, type Log } from '@coppice/service-kit';
import { endOrphans } from './orphans';
import { assertReachable } from './server-users';

/** `/<12 digits>/s/read-only/.s.PGSQL.5432` behind it must fit into the 107 bytes of a socket's path. */
const LONGEST_PATH = 107 - '/123456789012/s/read-only/.s.PGSQL.5432'.length;
const CHATTR_MS = 2_000;
/** Directories of computes, templates under construction, spares and trash, as this agent names them. */
const OURS = /^(?:(?:t|spare|trash)-)?[0-9a-f]{12}$/;

export interface ComputesDirectory {
  readonly path: string;
  /** Ends what an agent that was killed left running, and removes its directories. */
  endLeftovers(clock: Clock, log: Log): Promise<void>;
}

/**
 * Tells a file system of the ext family that the directories in it have nothing to do with each other (chattr(1), attribute T), so
 * that each gets its files in another group of inodes. Without a journal, a new file is looked for behind all that were deleted in
 * its group within a minute (recently_deleted, fs/ext4/ialloc.c): the files of a start took 46 ms rather than 15 where computes came
 * and went. Other file systems refuse the mark and do without.
 */
function spreadOut(path: string): void {
  spawnSync('chattr', ['+T', path], { stdio: 'ignore', timeout: CHATTR_MS });
}

/** Creates the directory of the computes when needed and checks that they can live in it. */
export function cleanComputesDirectory(configured: string, isRoot: boolean): ComputesDirectory {
  mkdirSync(configured, { recursive: true, mode: 0o711 });
  const path = realpathSync(configured);
  if (isRoot) chmodSync(path, 0o711);
  const remedy = 'Set COPPICE_AGENT_RUN_DIRECTORY to a short path below directories that others may enter, for example /var/lib/coppice/c.';
  if (path.length > LONGEST_PATH) throw new CoppiceError('Invalid', 'long-run-directory', `${path} is longer than ${LONGEST_PATH} bytes: sockets below it could not be named`, { remedy });
  if (isRoot) assertReachable(path, remedy);
  spreadOut(path);
  return {
    path,
    endLeftovers: async (clock, log) => {
      for (const name of readdirSync(path).filter((n) => OURS.test(n))) {
        const directory = join(path, name);
        const ended = await endOrphans(directory, clock);
        log.info({ directory, ended }, 'what an agent left that was killed is cleaned up');
        rmSync(directory, { recursive: true, force: true });
      }
    },
  };
}
