import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import type { Log, Part } from '@coppice/service-kit';
import { cannotListen } from '@coppice/service-kit';
import { writeError } from '@coppice/postgres';
import { endSoon } from './client-stream';

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly maxConnections: number;
  readonly log: Log;
  /** Until the connection is closed. */
  readonly serve: (socket: Socket) => Promise<void>;
}

/** Accepts clients up to a bound; on stop refuses new ones and ends those that are here. */
export function listener({ host, port, maxConnections, log, serve }: ListenerOptions): Part {
  const open = new Set<Socket>();
  const server: Server = createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 },
    (socket) => {
      if (open.size >= maxConnections) {
        endSoon(
          socket,
          writeError({
            severity: 'FATAL',
            code: '53300',
            message: `sorry, this proxy serves ${maxConnections} connections already`,
            hint: 'Close idle connections and try again.',
          }),
        );
        return;
      }
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      void serve(socket);
    },
  );
  return {
    name: `postgres ${host}:${port}`,
    start: () =>
      new Promise<void>((resolve, reject) => {
        server.once('error', (error) => reject(cannotListen(`${host}:${port}`, error)));
        server.listen(port, host, () => {
          log.info({ host, port }, 'listens');
          resolve();
        });
      }),
    stop: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}
