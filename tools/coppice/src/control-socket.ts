/** How `status` and `down` reach a running supervisor: one JSON line each way over its Unix socket. */
import { rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { createConnection, createServer } from 'node:net';
import { Problem } from './problem';

export interface ServiceStatus {
  readonly name: string;
  readonly pid: number;
  readonly log: string;
  /** Where it shows its metrics, when it has any. */
  readonly metrics?: string | undefined;
  readonly state: 'starting' | 'ready' | 'restarting' | 'stopped';
  readonly restarts: number;
}

export type Request = { readonly command: 'status' } | { readonly command: 'stop' };
export interface Reply {
  readonly pid: number;
  readonly services: readonly ServiceStatus[];
}

/** Asks the supervisor; `undefined` when none listens. The reply to `stop` comes once everything has stopped. */
export function askSupervisor(path: string, request: Request, timeoutMs: number): Promise<Reply | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    let received = '';
    socket.setTimeout(timeoutMs, () =>
      socket.destroy(new Problem(`the supervisor does not answer within ${timeoutMs / 1000} s`)),
    );
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on('data', (chunk) => (received += chunk.toString()));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? resolve(undefined) : reject(error),
    );
    socket.on('end', () => (received === '' ? resolve(undefined) : resolve(JSON.parse(received) as Reply)));
  });
}

/** Listens; `answer` may take as long as the stop takes. A socket file of a dead supervisor is replaced. */
export async function listenForCommands(
  path: string,
  answer: (request: Request) => Promise<Reply>,
): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    let received = '';
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      received += chunk.toString();
      if (received.length > 4096) socket.destroy();
      if (socket.destroyed || !received.endsWith('\n')) return;
      const line = received;
      received = '';
      void (async () => answer(JSON.parse(line) as Request))().then(
        (reply) => socket.end(JSON.stringify(reply)),
        () => socket.destroy(),
      );
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return server;
}
