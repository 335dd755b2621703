/** One round trip with a server: what is sent, and what comes until the server is ready again. */
import type { Message } from '@coppice/postgres';
import { BadMessage, readErrorFields } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import { ENDS_SESSION } from '../pool/not-taken-up';
import type { ServerMessages } from '../pool/server-messages';
import { QueryFailed } from './sql-errors';

/** What the server says whenever it likes: settings, notices, notifications. */
const UNASKED = new Set(['S', 'N', 'A']);

export const CONNECTION_LOST = 'connection-lost';

/** The server ended the connection before it took up what was sent: it may be sent again elsewhere. */
export class NotTakenUp extends Error {}

/**
 * Sends `bytes`, which end with Sync, and gives the first error that the server answers with. Rejects when the connection ends, when a
 * message is too long, or `take` throws: then it cannot be used any more.
 */
export async function exchange(
  messages: ServerMessages,
  bytes: Buffer,
  take: (message: Message) => void,
): Promise<QueryFailed | undefined> {
  let failed: QueryFailed | undefined;
  let isAnswered = false;
  const lost = (cause: unknown): unknown => {
    if (cause instanceof BadMessage) return cause;
    if (failed && !isAnswered && ENDS_SESSION.has(failed.sqlstate)) return new NotTakenUp();
    return failed ?? connectionLost(cause);
  };
  const next = (): Promise<Message> => messages.read().catch((error: unknown) => Promise.reject(lost(error)));
  // Not waited for: a server that is sent much takes it in only as its answers are read. That it is gone, reading tells.
  messages.write(bytes).catch(() => undefined);
  for (;;) {
    const message = await next();
    if (message.type === 'Z') return failed;
    if (message.type === 'E') failed ??= new QueryFailed(readErrorFields(message.body));
    else if (!UNASKED.has(message.type)) {
      isAnswered = true;
      take(message);
    }
  }
}

/** What was sent may have been done, or a part of it. */
export function connectionLost(cause: unknown): CoppiceError {
  return new CoppiceError(
    'Unavailable',
    CONNECTION_LOST,
    'the connection to the compute was lost; what was asked for may or may not have been done',
    { remedy: 'Look whether it was done before trying again.', sqlstate: '08006', cause },
  );
}
