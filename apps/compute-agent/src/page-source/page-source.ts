/**
 * Serves the misses of one compute's server processes. There is one page source, and so one socket, per compute, in the
 * compute's private directory: who can reach the socket is that compute, and a hello with the state file's nonce makes
 * sure that both sides speak about the same list of files.
 */
import { chown, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { asCoppiceError, type Clock, CoppiceError, type Log, withDeadline } from '@coppice/service-kit';
import { keyOf, type PageKey } from '@coppice/vocabulary';
import * as wire from './interposer-messages';
import { failedMisses, missSeconds } from './metrics';
import { type BatcherLimits, MissBatcher, type PageProvider } from './miss-batcher';
import type { RelationFiles } from './relation-files';
import type { StateFile } from './state-file';

/** Far more than one compute has processes. */
const MAX_CONNECTIONS = 5000;
/** Shorter than the minute after which the interposer gives up. */
const LOOK_UP_DEADLINE_MS = 50_000;

export interface PageSourceOptions {
  readonly state: Pick<StateFile, 'nonce' | 'files' | 'socketPath'>;
  readonly provider: PageProvider;
  /** Makes the files of relations that are asked for. */
  readonly relations: Pick<RelationFiles, 'lookUp' | 'layDatabase'>;
  readonly log: Log;
  readonly clock: Clock;
  /** Who runs Postgres, when that is somebody else. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  readonly limits?: Partial<BatcherLimits>;
}

export class PageSource {
  readonly #options: PageSourceOptions;
  readonly #misses: MissBatcher;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  readonly #answers = new Set<Promise<void>>();

  constructor(options: PageSourceOptions) {
    this.#options = options;
    this.#misses = new MissBatcher(options.provider, options.limits);
    this.#server = createServer((socket) => this.#onConnection(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Listens; Postgres may be started afterwards. */
  async start(): Promise<void> {
    const { socketPath } = this.#options.state;
    await rm(socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(socketPath, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#server.on('error', (error) =>
      this.#options.log.error({ err: error }, 'page source cannot accept connections'),
    );
    const { owner } = this.#options;
    if (owner) await chown(socketPath, owner.uid, owner.gid);
  }

  /**
   * Stops at once: a server that still runs gets input/output errors for what it does not have. Once it has resolved nothing
   * more is made or listed for that server.
   */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#connections) socket.destroy();
    this.#misses.stop();
    await closed;
    await Promise.all(this.#answers);
  }

  #onConnection(socket: Socket): void {
    const reader = new wire.RequestReader();
    const gone = new AbortController();
    let greeted = false;
    let busy = false;
    const drop = (error: unknown): void => {
      this.#options.log.warn({ err: error }, 'page source drops a server process that breaks the protocol');
      socket.destroy();
    };
    const onRequest = (request: wire.InterposerRequest): void => {
      if (request.kind === 'hello') {
        if (
          greeted ||
          request.version !== wire.PROTOCOL_VERSION ||
          request.nonce !== this.#options.state.nonce
        )
          throw breach('a wrong hello');
        greeted = true;
        return;
      }
      if (!greeted) throw breach('no hello');
      if (request.kind === 'prefetch') return this.#misses.prefetch(this.#keysOf(request, 0).keys);
      if (busy) throw breach('a second request');
      busy = true;
      const answer = this.#answer(socket, request, gone.signal)
        .catch(drop)
        .finally(() => {
          busy = false;
          this.#answers.delete(answer);
        });
      this.#answers.add(answer);
    };
    this.#connections.add(socket);
    socket.on('data', (chunk) => {
      try {
        reader.push(chunk).forEach(onRequest);
      } catch (error) {
        drop(error);
      }
    });
    // A server process that ends or is killed closes without ceremony: nothing to report.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#connections.delete(socket);
      gone.abort();
    });
  }

  async #answer(socket: Socket, request: wire.Question, signal: AbortSignal): Promise<void> {
    if (request.kind === 'fetch') await this.#answerFetch(socket, request, signal);
    else await this.#answerLookUp(socket, request, signal);
  }

  async #answerLookUp(
    socket: Socket,
    request: wire.LookUp | wire.LayDatabase,
    signal: AbortSignal,
  ): Promise<void> {
    const { relations, log } = this.#options;
    try {
      const limit = withDeadline(LOOK_UP_DEADLINE_MS, signal);
      const blocks = await (request.kind === 'lookUp'
        ? relations.lookUp(request.file, limit)
        : relations.layDatabase(request.database, limit));
      socket.write(wire.encodeDone(request.sequence, blocks));
    } catch (error) {
      if (signal.aborted) return;
      failedMisses.inc();
      log.warn({ err: error, request }, 'page source cannot look up files');
      socket.write(wire.encodeFailure(request.sequence, asCoppiceError(error).clientText));
    }
  }

  async #answerFetch(socket: Socket, request: wire.Fetch, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const started = clock.monotonic();
    const { keys, following } = this.#keysOf(request, request.ahead);
    try {
      const fetched = this.#misses.fetch(keys, signal);
      this.#misses.prefetch(following);
      const pages = await this.#orFirstAlone(keys, fetched, signal);
      socket.cork();
      socket.write(wire.encodePagesHead(request.sequence, pages.length));
      for (const page of pages) socket.write(page);
      socket.uncork();
      // Who does not read its answer is not listened to either, so at most one answer waits here per process.
      if (socket.writableNeedDrain) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    } catch (error) {
      if (signal.aborted) return;
      failedMisses.inc();
      const file = this.#options.state.files[request.file]?.name;
      log.warn(
        { err: error, file, block: request.first, count: request.count },
        'page source cannot serve a miss',
      );
      socket.write(wire.encodeFailure(request.sequence, asCoppiceError(error).clientText));
    } finally {
      missSeconds.observe((clock.monotonic() - started) / 1000);
    }
  }

  /** A page that cannot be served must not take those before it along: nobody may ever need it. */
  async #orFirstAlone(
    keys: readonly PageKey[],
    fetched: Promise<Uint8Array[]>,
    signal: AbortSignal,
  ): Promise<Uint8Array[]> {
    try {
      return await fetched;
    } catch (error) {
      if (keys.length === 1 || signal.aborted || asCoppiceError(error).retryable) throw error;
      return this.#misses.fetch(keys.slice(0, 1), signal);
    }
  }

  /** Page keys of a run, and of what probably follows it. Throws for what cannot be in the file. */
  #keysOf(run: wire.Run, ahead: number): { keys: PageKey[]; following: PageKey[] } {
    const file = this.#options.state.files[run.file];
    const end = run.first + run.count;
    if (!file || run.count < 1 || run.count > wire.MAX_RUN || ahead > wire.MAX_AHEAD || end > file.blocks)
      throw breach('a wrong run');
    const { prefix, firstBlock } = file.range;
    const keysFrom = (first: number, until: number): PageKey[] =>
      Array.from({ length: until - first }, (_, i) => keyOf(prefix, firstBlock + first + i));
    return { keys: keysFrom(run.first, end), following: keysFrom(end, Math.min(end + ahead, file.blocks)) };
  }
}

function breach(what: string): CoppiceError {
  return new CoppiceError('Malformed', 'interposer-protocol', `a server process sent ${what}`);
}
