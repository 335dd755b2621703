/** The metadata Postgres of a stack: stock, durable (fsync on), reached by Unix socket only. */
import { execFile } from 'node:child_process';
import { chownSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { syncDirectory } from '@coppice/service-kit';
import type { Layout } from './layout';
import type { PostgresUser } from './machine';
import { makePrivate, reachable } from './machine';
import { Problem } from './problem';
import type { ServiceSpec } from './supervisor';

export const METADATA_USER = 'coppice';

/**
 * The command prefix that runs something as `user`. `setpriv` ends the server with its supervisor and, where the data
 * directory lies below one that `user` may not pass (root's home), lends it the right to pass directories.
 */
function asUser(user: PostgresUser | undefined, directory: string, bin: string): string[] {
  const prefix = ['setpriv', '--pdeathsig', 'INT'];
  if (!user) return prefix;
  prefix.push('--reuid', String(user.uid), '--regid', String(user.gid), '--clear-groups');
  if (!reachable(join(directory, '..'), user) || !reachable(bin, user))
    prefix.push('--inh-caps', '+dac_read_search', '--ambient-caps', '+dac_read_search');
  return prefix;
}

export async function metadataService(
  layout: Layout,
  bin: string,
  user: PostgresUser | undefined,
): Promise<ServiceSpec> {
  const prefix = asUser(user, layout.metadata, bin);
  makePrivate(layout.metadataSocket);
  if (user) chownSync(layout.metadataSocket, user.uid, user.gid);
  if (!existsSync(join(layout.metadata, 'PG_VERSION'))) await initialise(layout, bin, prefix, user);
  return {
    name: 'metadata',
    command: prefix[0]!,
    args: [
      ...prefix.slice(1),
      join(bin, 'postgres'),
      ...['-D', layout.metadata, '-k', layout.metadataSocket],
      ...[
        'listen_addresses=',
        'max_connections=100',
        'shared_buffers=64MB',
        // WAL is a good part of what sleeping databases cost on disk.
        'max_wal_size=192MB',
        'min_wal_size=32MB',
        'wal_compression=on',
        'jit=off',
        'log_min_messages=warning',
      ].flatMap((s) => ['-c', s]),
    ],
    env: {},
    log: join(layout.logs, 'metadata.log'),
    readiness: { socket: join(layout.metadataSocket, '.s.PGSQL.5432') },
    startOrder: 0,
    listens: join(layout.metadataSocket, '.s.PGSQL.5432'),
    stopSignal: 'SIGINT',
    stopOrder: 9,
  };
}

async function initialise(
  layout: Layout,
  bin: string,
  prefix: string[],
  user: PostgresUser | undefined,
): Promise<void> {
  const unfinished = `${layout.metadata}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  makePrivate(unfinished);
  if (user) chownSync(unfinished, user.uid, user.gid);
  const initdb = [
    join(bin, 'initdb'),
    '-D',
    unfinished,
    '-U',
    METADATA_USER,
    '--auth=trust',
    '--encoding=UTF8',
    '--locale=C',
  ];
  try {
    await promisify(execFile)(prefix[0]!, [...prefix.slice(1), ...initdb], { timeout: 60_000 });
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw new Problem(
      `initdb of the metadata Postgres failed: ${(error as { stderr?: string }).stderr?.trim() || String(error)}`,
    );
  }
  renameSync(unfinished, layout.metadata);
  await syncDirectory(layout.directory);
}
