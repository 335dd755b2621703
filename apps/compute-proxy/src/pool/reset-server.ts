/**
 * Makes a session as it was when it was opened. `DISCARD ALL` does, and drops prepared statements as well; a session that has
 * some of ours gets the same without that, in one implicit transaction.
 */
import { readErrorFields, writeMessage } from '@coppice/postgres';
import { Counter, CoppiceError } from '@coppice/service-kit';
import type { PooledServer } from './pooled-server';
import { readSetting, withSetting } from './reported-settings';
import { ServerMessages } from './server-messages';

const resets = new Counter({
  name: 'coppice_proxy_pool_resets_total',
  help: 'Server connections that were made as new between two clients.',
});

const MAX_ANSWER_BYTES = 64 * 1024;

const DISCARD_ALL = query('DISCARD ALL');
/** What DISCARD ALL does (DiscardAll, src/backend/commands/discard.c) but for prepared statements and their plans. */
const KEEPING_STATEMENTS = query(
  [
    'CLOSE ALL',
    'SET SESSION AUTHORIZATION DEFAULT',
    'RESET ALL',
    'UNLISTEN *',
    'SELECT pg_catalog.pg_advisory_unlock_all()',
    'DISCARD TEMP',
    'DISCARD SEQUENCES',
  ].join('; '),
);

/** Throws when the server does not come out clean: then it must not be used again. */
export async function resetServer(server: PooledServer): Promise<void> {
  resets.inc();
  // As on a standby, UNLISTEN is refused in a read-only session, and not needed.
  const keeps = server.statements.size > 0 && !server.forgetsStatements && !server.target.readOnly;
  await runQuietly(server, keeps ? KEEPING_STATEMENTS : DISCARD_ALL);
  if (!keeps) server.statements.clear();
  server.unnamed = undefined;
  server.owner = undefined;
  server.isDirty = false;
  server.wasCancelled = false;
  server.forgetsStatements = false;
}

/** Sends a simple Query of ours and takes its answer in. Throws when it fails. */
export async function runQuietly(server: PooledServer, message: Buffer): Promise<void> {
  const messages = new ServerMessages(server, MAX_ANSWER_BYTES);
  await messages.write(message);
  let failure: ReadonlyMap<string, string> | undefined;
  while (!messages.isIdle) {
    const { type, body } = await messages.read();
    if (type === 'S') server.reported = withSetting(server.reported, ...readSetting(body));
    else if (type === 'E') failure ??= readErrorFields(body);
    else if (type === 'Z' && !messages.isIdle) break;
  }
  if (!failure && messages.isDrained && messages.isIdle) return;
  throw new CoppiceError(
    'Unavailable',
    'session-not-reset',
    `a pooled session cannot be prepared for its next client: ${failure?.get('M') ?? 'it is in a transaction'}`,
    { remedy: 'Try again; the session was ended.' },
  );
}

export function query(sql: string): Buffer {
  return writeMessage('Q', Buffer.from(`${sql}\0`));
}
