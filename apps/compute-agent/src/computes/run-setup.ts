import { CoppiceError } from '@coppice/service-kit';
import { Client } from 'pg';
import { ADMIN_ROLE } from '../prepare/settings';
import { SOCKET_PORT } from './compute-directory';

/** SQLSTATEs of "exists already" (duplicate database, object, schema): set-up is repeated when its first answer was lost. */
const EXISTS_ALREADY = new Set(['42P04', '42710', '42P06']);

/** Runs the statements one by one, each in a transaction of its own, as superuser in the maintenance database. */
export async function runSetup(statements: readonly string[], socketDirectory: string, signal: AbortSignal): Promise<void> {
  const client = new Client({ host: socketDirectory, port: SOCKET_PORT, user: ADMIN_ROLE, database: 'postgres', application_name: 'coppice-setup' });
  // The statement that notices a lost connection reports it.
  client.on('error', () => undefined);
  const onAbort = (): void => void client.end();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await client.connect();
    for (const statement of statements) {
      signal.throwIfAborted();
      try {
        await client.query(statement);
      } catch (error) {
        const { code, message } = error as { code?: string; message: string };
        if (code && EXISTS_ALREADY.has(code)) continue;
        throw new CoppiceError('Invalid', 'setup-failed', `the compute's set-up fails: ${message} (${code ?? 'no SQLSTATE'})`, { cause: error });
      }
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    await client.end().catch(() => undefined);
  }
}
