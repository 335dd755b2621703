import type { Socket } from 'node:net';

/** Pipes bytes both ways, unparsed and with back-pressure, until either side ends; resolves when both are closed. */
export async function splice(client: Socket, server: Socket): Promise<void> {
  const closed = (socket: Socket): Promise<void> =>
    new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));
  const onError = (): void => {
    client.destroy();
    server.destroy();
  };
  client.on('error', onError);
  server.on('error', onError);
  client.once('close', () => server.destroy());
  server.once('close', () => client.end(() => client.destroy()));
  client.setNoDelay(true);
  client.pipe(server);
  server.pipe(client);
  await Promise.all([closed(client), closed(server)]);
}
