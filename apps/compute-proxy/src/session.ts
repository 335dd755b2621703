/**
 * One client, from its first byte to its last:
 *   first packets (TLS, cancel, startup) → log in → [held] wake → open the compute → splice
 *                                                → pooled: a server for each transaction
 * Authentication completes before the wake, so a wrong password never starts a compute. What a client needs until its session
 * runs is forgotten by then: there may be thousands that do nothing.
 */
import type { Duplex } from 'node:stream';
import { after } from '@coppice/service-kit';
import { ClientGone, ClientStream, LOGIN_TOO_SLOW } from './client-stream';
import { type Arrival, type FirstPacketServices, readStartup } from './first-packets';
import { lastWords } from './last-words';
import { logIn, type LoginServices } from './log-in';
import type { CancelKeys } from './cancel/cancel-keys';
import { type PooledServices, servePooled } from './pool/serve-pooled';
import { type DirectServices, type Running, serveDirect } from './serve-direct';

export interface SessionServices extends FirstPacketServices, LoginServices, DirectServices, PooledServices {
  readonly cancelKeys: CancelKeys;
  readonly loginTimeoutMs: number;
}

/** Serves one accepted connection until it is closed, be it by whoever accepted it; never throws. */
export async function serveClient(
  socket: Duplex,
  services: SessionServices,
  arrival?: Arrival,
): Promise<void> {
  const connectedAt = services.clock.monotonic();
  const life = new AbortController();
  socket.on('error', () => socket.destroy());
  socket.once('close', () => life.abort(GONE));
  const session = await begin(socket, services, { life, connectedAt }, arrival);
  await session?.over;
}

/** One for all: it is no error, and a stack would be made for every client. */
const GONE = new ClientGone();

/** Up to where the session runs; else its client was told why not. */
async function begin(
  socket: Duplex,
  services: SessionServices,
  { life, connectedAt }: { readonly life: AbortController; readonly connectedAt: number },
  arrival: Arrival | undefined,
): Promise<Running | undefined> {
  const login = new AbortController();
  const onGone = (): void => login.abort(GONE);
  life.signal.addEventListener('abort', onGone, { once: true });
  const cancelDeadline = after(services.loginTimeoutMs, () => login.abort(LOGIN_TOO_SLOW));
  const client = new ClientStream(socket, login.signal);
  try {
    const startup = await readStartup(client, services, arrival);
    if (!startup) return void client.end();
    const who = { ...(await logIn(client, startup, services, login.signal)), connectedAt };
    cancelDeadline();
    try {
      const { over } = await (who.pooled ? servePooled : serveDirect)(client, who, services, life);
      return { over: over.finally(who.leave) };
    } catch (error) {
      who.leave();
      throw error;
    }
  } catch (error) {
    refuse(client, error, services);
    return undefined;
  } finally {
    cancelDeadline();
    life.signal.removeEventListener('abort', onGone);
  }
}

/** Says why in a PostgreSQL error and closes. */
function refuse(client: ClientStream, error: unknown, { log }: SessionServices): void {
  if (error instanceof ClientGone || client.socket.destroyed) return void client.socket.destroy();
  client.write(lastWords(error, log));
  client.end();
}
