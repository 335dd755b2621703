/** Facts about this machine and the checks that `up` makes before it starts anything. */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { asCoppiceError, postgresBinDirectory } from '@coppice/service-kit';
import { Problem } from './problem';

export interface PostgresUser {
  readonly uid: number;
  readonly gid: number;
}

/** Postgres refuses to run as root: then it runs as `nobody`. `undefined` when we are not root. */
export function postgresUser(): PostgresUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const entry = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((line) => line.startsWith('nobody:'));
  if (!entry)
    throw new Problem('running as root needs a user `nobody` for Postgres: add one, or run as a normal user');
  const [, , uid, gid] = entry.split(':');
  return { uid: Number(uid), gid: Number(gid) };
}

/** `bin` of the PostgreSQL 17 to run: `COPPICE_PG_BIN`, else the bundled one. */
export function postgresBin(): string {
  try {
    return postgresBinDirectory();
  } catch (error) {
    throw new Problem(asCoppiceError(error).clientText);
  }
}

/** Whether `user` may pass through every directory down to `path`. */
export function reachable(path: string, user: PostgresUser): boolean {
  for (let at = path; ; at = dirname(at)) {
    const { mode, uid, gid } = statSync(at);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (dirname(at) === at) return true;
  }
}

export function makePrivate(path: string, mode = 0o700): void {
  mkdirSync(path, { recursive: true, mode });
  chmodSync(path, mode);
}

/** The longest path of a socket below the run directory is longer than it by so many bytes; a path has 107 at most. */
const LONGEST_RUN_BYTES = 107 - '/c/0123456789ab/s/read-only/.s.PGSQL.5432'.length;

/** Makes the directory of sockets and computes, which must be ours alone: its name in a directory of all can be guessed. */
export function makeRunDirectory(path: string, user: PostgresUser | undefined): void {
  if (Buffer.byteLength(path) > LONGEST_RUN_BYTES)
    throw new Problem(`${path} is too long a path for sockets: set TMPDIR to a shorter one`);
  try {
    mkdirSync(path, { mode: 0o711 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST')
      throw new Problem(`cannot make ${path} (${code}): set TMPDIR to a directory that can be written`);
  }
  const found = lstatSync(path);
  if (!found.isDirectory() || found.uid !== process.getuid?.())
    throw new Problem(`${path} belongs to somebody else: remove it, or set TMPDIR to another directory`);
  chmodSync(path, 0o711);
  if (user && !reachable(path, user))
    throw new Problem(
      `Postgres, as another user, cannot pass to ${path}: set TMPDIR to a directory open to all, such as /tmp`,
    );
}

const NEEDED_BYTES = 512 * 1024 * 1024;

/** Creates the data directory and shows that it can be written and has room. */
export function prepareDataDirectory(path: string): void {
  const probe = join(path, '.write-test');
  try {
    mkdirSync(path, { recursive: true, mode: 0o755 });
    writeFileSync(probe, Buffer.alloc(4096, 1));
    rmSync(probe);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOSPC')
      throw new Problem(
        `no space left for the data directory ${path}: free some, or name another with --data-dir`,
      );
    throw new Problem(
      `cannot write to the data directory ${path} (${code}): mend its permissions, or name another with --data-dir`,
    );
  }
  const { bavail, bsize } = statfsSync(path);
  if (bavail * bsize < NEEDED_BYTES) {
    throw new Problem(
      `only ${Math.floor((bavail * bsize) / 1048576)} MiB are free for ${path}, 512 MiB are needed: free some, or name another with --data-dir`,
    );
  }
}

/** Shows that nobody listens on `port` of the loopback interface. */
export async function requireFreePort(port: number, what: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new Problem(
          `port ${port} for the ${what} cannot be used (${error.code}): stop what listens there, or choose others with --port-base`,
        ),
      ),
    );
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve()));
  });
}
