import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { endSoon } from '../client-stream';
import type { FirstExchange } from '../start-phases';

/** As `splice`, for a client that is not a socket: it cannot be half closed, and an end is the end. */
export async function spliceStream(client: Duplex, server: Socket, first?: FirstExchange): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    if (server.closed) resolve();
    else server.once('close', () => resolve());
  });
  for (const over of ['end', 'close', 'error']) client.once(over, () => server.destroy());
  server.on('error', () => server.destroy());
  if (first) note(client, server, first);
  client.pipe(server);
  server.pipe(client);
  await closed;
  endSoon(client);
}

function note(client: Duplex, server: Socket, first: FirstExchange): void {
  const onAnswer = (): void => void (first.answered() && server.off('data', onAnswer));
  client.once('data', () => first.asked());
  server.on('data', onAnswer);
}
