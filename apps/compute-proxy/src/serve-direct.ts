/** A session of its own on the endpoint's compute: woken, opened, and from then on bytes passed both ways. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ByteWriter } from '@coppice/bytes';
import { writeMessage } from '@coppice/postgres';
import type { Log } from '@coppice/service-kit';
import type { CancelKeys } from './cancel/cancel-keys';
import type { ClientStream } from './client-stream';
import type { ComputeConnection } from './compute-connection';
import { endBackend } from './end-backend';
import { credentialEnded } from './last-words';
import type { LiveCredentials } from './live-credentials';
import type { LoggedIn } from './log-in';
import { type Splice, splice } from './splice';
import type { TransferMeter } from './transfer-meter';
import { type FirstExchange, firstRow } from './start-phases';
import { type OpenedCompute, wakeAndOpen, type Waking } from './wake-and-open';
import { spliceStream } from './websocket/splice-stream';

export interface DirectServices extends Waking {
  readonly log: Log;
  readonly cancelKeys: Pick<CancelKeys, 'add'>;
  readonly liveCredentials: Pick<LiveCredentials, 'add'>;
  readonly transfers: Pick<TransferMeter, 'add'>;
}

/** A session that runs until its client is gone. */
export interface Running {
  readonly over: Promise<void>;
}

/** For the server's last message to reach a client whose session is ended. */
const LAST_WORDS_MS = 200;

/** Resolves when the session runs; `life` is that of its client, and ends with the credential as well. */
export async function serveDirect(
  client: ClientStream,
  { role, endpoint, credential, route, parameters, connectedAt }: LoggedIn & { readonly connectedAt: number },
  services: DirectServices,
  life: AbortController,
): Promise<Running> {
  let isOver = false;
  let end = (): void => undefined;
  const unwatch = services.liveCredentials.add({
    credentialId: credential.credentialId,
    expiresUnixMs: credential.expiresUnixMs,
    end: () => {
      isOver = true;
      life.abort(credentialEnded(role));
      end();
    },
  });
  try {
    const readOnly = credential.readOnly || route.readOnly;
    const session = { parameters, readOnly, when: route.when };
    const compute = await wakeAndOpen(endpoint, session, services, life.signal);
    end = endingOf(client.socket, compute, services);
    if (isOver) end();
    return { over: pass({ client, endpoint, connectedAt }, compute, services).finally(unwatch) };
  } catch (error) {
    unwatch();
    throw error;
  }
}

interface ReadySession {
  readonly client: ClientStream;
  readonly endpoint: string;
  /** Of the monotonic clock, milliseconds. */
  readonly connectedAt: number;
}

/** Greets the client and passes bytes; resolves when both sides are closed. */
function pass(
  { client, endpoint, connectedAt }: ReadySession,
  { socket, socketPath, greeting, rest, backendPid, backendSecret, started }: OpenedCompute,
  { cancelKeys, transfers, clock }: DirectServices,
): Promise<void> {
  const key = cancelKeys.add({ socketPath, pid: backendPid, secret: backendSecret });
  const keyData = writeMessage('K', new ByteWriter().u32be(key.pid).raw(key.secret).finish());
  client.write(Buffer.concat([greeting, keyData, rest]));
  const first = started ? firstRow(clock, connectedAt) : undefined;
  const early = client.takeBuffered();
  if (early.length > 0) {
    first?.asked();
    socket.write(early);
  }
  const { closed, moved } = spliced(client.socket, socket, first);
  const uncount = transfers.add(endpoint, moved);
  return closed.finally(() => {
    uncount();
    key.remove();
  });
}

function spliced(client: Duplex, server: Socket, first: FirstExchange | undefined): Splice {
  if (client instanceof Socket) return splice(client, server, first);
  return { closed: spliceStream(client, server, first), moved: server };
}

/** Ends both sides, whatever they are doing; a client that still listens is told by PostgreSQL. */
function endingOf(
  client: Duplex,
  { address, backendPid, socket }: ComputeConnection,
  { clock, log }: DirectServices,
): () => void {
  const end = async (): Promise<void> => {
    try {
      await endBackend(address, backendPid);
      await clock.sleep(LAST_WORDS_MS);
    } catch (error) {
      log.warn({ err: error }, 'a session that is over is cut off, its last statement may go on');
    } finally {
      socket.destroy();
      client.destroy();
    }
  };
  return () => void end();
}
