/**
 * Pages from the pageserver over one long-lived stream of one compute, opened with its token, which opens its timeline alone.
 * Requests carry ids and are answered in any order. When the stream breaks, what waits on it is asked again on a new one, until its own deadline:
 * a pageserver that restarts delays reads, it does not fail them.
 */
import { type Client, fromFailure, MAX_KEYS_PER_REQUEST, type MessageStream, type pageserverContract, type PagesRequest, type PagesResponse } from '@coppice/contracts';
import { type Clock, CoppiceError, type Log, Semaphore, withDeadline } from '@coppice/service-kit';
import { BLOCK_SIZE, type Lsn, type PageKey, type TimelineId } from '@coppice/vocabulary';
import { patiently } from './patiently';

export type PageserverClient = Client<(typeof pageserverContract)['methods']>;

const MAX_UNDER_WAY = 64;
const MAX_WAITING = 4_096;
/** Below the minute after which a backend that waits for another's read gives up. */
const DEADLINE_MS = 50_000;

interface Pending {
  readonly count: number;
  resolve(pages: readonly Buffer[]): void;
  reject(error: unknown): void;
}

export interface PagesStreamOptions {
  readonly pageserver: PageserverClient;
  readonly clock: Clock;
  readonly log: Log;
}

export class PagesStream {
  readonly #options: PagesStreamOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #permits = new Semaphore(MAX_UNDER_WAY, MAX_WAITING);
  #stream: MessageStream<PagesRequest, PagesResponse> | undefined;
  #draining: Promise<void> | undefined;
  #lastId = 0;

  constructor(options: PagesStreamOptions) {
    this.#options = options;
  }

  /** The pages of `keys` as of `lsn`, in order. */
  async getPages({ timeline, lsn }: { readonly timeline: TimelineId; readonly lsn: Lsn }, keys: readonly PageKey[], signal: AbortSignal): Promise<Buffer[]> {
    const deadline = withDeadline(DEADLINE_MS, signal);
    const pages: Buffer[] = [];
    for (let at = 0; at < keys.length; at += MAX_KEYS_PER_REQUEST) {
      const part = keys.slice(at, at + MAX_KEYS_PER_REQUEST);
      pages.push(...(await this.#permits.run(() => patiently(() => this.#ask(timeline, lsn, part, deadline), { ...this.#options, signal: deadline }), deadline)));
    }
    return pages;
  }

  /** Ends the stream; reads under way fail. */
  close(): void {
    this.#stream?.cancel(new CoppiceError('Unavailable', 'compute-ended', 'the compute has ended'));
  }

  async #ask(timelineId: TimelineId, lsn: Lsn, keys: readonly PageKey[], signal: AbortSignal): Promise<readonly Buffer[]> {
    const stream = this.#open();
    this.#lastId = this.#lastId >= 0x7fffffff ? 1 : this.#lastId + 1;
    const id = this.#lastId;
    const answer = new Promise<readonly Buffer[]>((resolve, reject) => this.#pending.set(id, { count: keys.length, resolve, reject }));
    // It may fail while the request is still being sent.
    answer.catch(() => undefined);
    const onAbort = (): void => this.#pending.get(id)?.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (!stream.send({ id, timelineId, lsn, keys })) await Promise.race([this.#room(stream), answer]);
      return await answer;
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#pending.delete(id);
    }
  }

  /** One wait for room, shared by all that wait. */
  async #room(stream: MessageStream<PagesRequest, PagesResponse>): Promise<void> {
    this.#draining ??= stream.drained().finally(() => (this.#draining = undefined));
    await this.#draining;
  }

  #open(): MessageStream<PagesRequest, PagesResponse> {
    if (this.#stream) return this.#stream;
    const stream = this.#options.pageserver.getPages();
    this.#stream = stream;
    stream.onMessage((response) => this.#answered(response));
    const lost = (error: unknown): void => {
      if (this.#stream === stream) this.#stream = undefined;
      for (const pending of this.#pending.values()) pending.reject(error);
      this.#pending.clear();
    };
    stream.closed.then(() => lost(new CoppiceError('Unavailable', 'pages-stream-ended', 'the pageserver ended the stream of pages')), lost);
    return stream;
  }

  #answered({ id, pages, failure }: PagesResponse): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    if (failure) pending.reject(fromFailure(failure));
    else if (pages.length !== pending.count || pages.some((page) => page.length !== BLOCK_SIZE)) {
      pending.reject(new CoppiceError('Corrupt', 'bad-pages', `the pageserver answered ${pages.length} pages to ${pending.count} keys, or not of 8192 bytes`));
    } else pending.resolve(pages);
  }
}
