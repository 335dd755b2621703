/** The superuser's way into a running compute, for checks that a user may not make: its Unix socket. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { controlInternalContract } from '@coppice/contracts';
import { stackIdentities } from '../identity/stack-identities';
import type { Stack } from './stack';

const run = promisify(execFile);
export const PG15 = '/usr/lib/postgresql/15/bin';
export const ADMIN = 'coppice_admin';

export interface ComputeSocket {
  readonly computeId: string;
  readonly socketDirectory: string;
  readonly port: number;
}

/** Wakes the endpoint's compute and says where it listens. */
export async function wake(stack: Stack, endpointId: string): Promise<ComputeSocket> {
  const address = `unix:${join(stack.file.runDirectory, 'svc', 'control')}`;
  const control = stackIdentities(stack).everyone(controlInternalContract, address);
  try {
    return await control.wake({ endpointId });
  } finally {
    control.close();
  }
}

export async function asAdmin<T>(
  stack: Stack,
  endpointId: string,
  database: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const { socketDirectory, port } = await wake(stack, endpointId);
  const client = new Client({ host: socketDirectory, port, user: ADMIN, database });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Runs pg_amcheck over every database of the compute; resolves with what it prints, which is nothing when all is sound. */
export async function amcheck(stack: Stack, endpointId: string): Promise<string> {
  const { socketDirectory, port } = await wake(stack, endpointId);
  const databases = await asAdmin(
    stack,
    endpointId,
    'postgres',
    async (c) =>
      (await c.query<{ datname: string }>('select datname from pg_database where datallowconn')).rows,
  );
  for (const { datname } of databases)
    await asAdmin(stack, endpointId, datname, (c) => c.query('create extension if not exists amcheck'));
  const args = [
    '-h',
    socketDirectory,
    '-p',
    String(port),
    '-U',
    ADMIN,
    '--all',
    '--heapallindexed',
    '--parent-check',
    '--on-error-stop',
  ];
  const { stdout, stderr } = await run(join(PG15, 'pg_amcheck'), args, {
    timeout: 300_000,
    maxBuffer: 1 << 24,
  }).catch((error: { stdout: string; stderr: string; message: string }) => ({
    stdout: `${error.message}\n${error.stdout}`,
    stderr: error.stderr,
  }));
  return `${stdout}${stderr}`.trim();
}

/** pgbench over the user's own connection string. */
export async function pgbench(uri: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(join(PG15, 'pgbench'), [...args, uri], {
    timeout: 600_000,
    maxBuffer: 1 << 24,
  });
  return stdout;
}
