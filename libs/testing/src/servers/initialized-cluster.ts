import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chown, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { postgresBinDirectory } from '@coppice/service-kit';
import { serverUser } from './server-user';

const run = promisify(execFile);
const BASE_ARGUMENTS = [
  '--username=postgres',
  '--auth=trust',
  '--encoding=UTF8',
  '--locale=C.UTF-8',
  '--no-sync',
];

/**
 * Makes `dataDirectory` (which must not exist yet) a freshly initialized cluster. `initdb` runs once per machine, version
 * and arguments; afterwards its result is copied. All such clusters share one system identifier.
 */
export async function initializedCluster(
  dataDirectory: string,
  initdbArgs: readonly string[],
): Promise<void> {
  const cached = await cachedCluster(initdbArgs);
  await run('cp', ['-a', '--reflink=auto', cached, dataDirectory]);
}

async function cachedCluster(initdbArgs: readonly string[]): Promise<string> {
  const bin = postgresBinDirectory();
  const version = (await run(join(bin, 'postgres'), ['--version'])).stdout.trim();
  const hash = createHash('sha256').update(JSON.stringify([version, serverUser, BASE_ARGUMENTS, initdbArgs]));
  const path = join(tmpdir(), `coppice-initdb-${hash.digest('hex').slice(0, 16)}`);
  if (await exists(path)) return path;

  const fresh = await mkdtemp(join(tmpdir(), 'coppice-initdb-new-'));
  try {
    if (serverUser) await chown(fresh, serverUser.uid, serverUser.gid);
    await run(join(bin, 'initdb'), [...BASE_ARGUMENTS, ...initdbArgs, '--pgdata', fresh], {
      ...serverUser,
      cwd: '/',
    });
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    // Another process may have won the race to `path`; its cluster is as good as ours.
    if (!(await exists(path))) throw error;
  }
  return path;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
