/** What the pageserver says a timeline holds at a position: the compute image's directory, and any page. */
import {
  fromFailure,
  MAX_KEYS_PER_REQUEST,
  type MessageStream,
  pageserverContract,
  type PagesRequest,
  type PagesResponse,
} from '@coppice/contracts';
import {
  type ForkNumber,
  type Lsn,
  type PageKey,
  relationMapKey,
  relationSizeKey,
  type SlruNumber,
  slruSegmentSizeKey,
  type TimelineId,
} from '@coppice/vocabulary';
import { stackIdentities } from '../identity/stack-identities';
import { addressOf } from './direct-compute';
import type { Stack } from './stack';

/** Everything of a compute image that has a size or a content, by key or path. */
export interface TimelineDirectory {
  /** Relation forks → blocks. */
  readonly forks: ReadonlyMap<PageKey, number>;
  /** SLRU segments → pages. */
  readonly segments: ReadonlyMap<PageKey, number>;
  readonly relationMaps: ReadonlyMap<PageKey, Buffer>;
  /** Init forks by path of their first segment, whole. */
  readonly initForks: ReadonlyMap<string, Buffer>;
  readonly files: ReadonlyMap<string, Buffer>;
}

export interface At {
  readonly timelineId: TimelineId;
  readonly lsn: Lsn;
}

interface Waiting {
  readonly resolve: (answer: PagesResponse) => void;
  readonly reject: (error: Error) => void;
}

export class PageserverReader {
  readonly #client;
  /** Requests without an answer yet, by id. */
  readonly #waiting = new Map<number, Waiting>();
  #stream: MessageStream<PagesRequest, PagesResponse> | undefined;
  #nextId = 1;

  constructor(stack: Stack) {
    this.#client = stackIdentities(stack).everyone(pageserverContract, addressOf(stack, 'pageserver'));
  }

  close(): void {
    this.#stream?.cancel();
    this.#client.close();
  }

  /** Waits until the position is ingested, then says all that is there. */
  async directory(at: At): Promise<TimelineDirectory> {
    const forks = new Map<PageKey, number>();
    const segments = new Map<PageKey, number>();
    const relationMaps = new Map<PageKey, Buffer>();
    const initForks = new Map<string, Buffer>();
    const files = new Map<string, Buffer>();
    await this.#client.waitForLsn(at);
    for await (const part of this.#client.getComputeImage({ ...at, wanted: [], allRelations: true })) {
      switch (part.kind) {
        case 'relations':
          part.value.blocks.forEach((blocks, i) =>
            forks.set(
              relationSizeKey({
                tablespace: part.value.tablespace[i]!,
                database: part.value.database[i]!,
                relation: part.value.relation[i]!,
                fork: part.value.fork[i]! as ForkNumber,
              }),
              blocks,
            ),
          );
          break;
        case 'slruSegments':
          part.value.pages.forEach((pages, i) =>
            segments.set(
              slruSegmentSizeKey(part.value.slru[i]! as SlruNumber, part.value.segment[i]!),
              pages,
            ),
          );
          break;
        case 'database':
          if (part.value.relationMap.length > 0)
            relationMaps.set(
              relationMapKey(part.value.tablespace, part.value.database),
              part.value.relationMap,
            );
          break;
        case 'initFork':
          initForks.set(`base/${part.value.database}/${part.value.relation}_init`, part.value.pages);
          break;
        case 'file':
          files.set(part.value.path, part.value.content);
          break;
        default:
      }
    }
    return { forks, segments, relationMaps, initForks, files };
  }

  /** The pages, in the order of the keys; a few requests are under way at once, all on one stream. */
  async *pages(at: At, keys: readonly PageKey[]): AsyncGenerator<Buffer> {
    const underWay: Promise<PagesResponse>[] = [];
    for (let from = 0; from < keys.length || underWay.length > 0; ) {
      while (from < keys.length && underWay.length < 4) {
        const asked = this.#ask(at, keys.slice(from, from + MAX_KEYS_PER_REQUEST));
        asked.catch(() => undefined);
        underWay.push(asked);
        from += MAX_KEYS_PER_REQUEST;
      }
      const { pages, failure } = await underWay.shift()!;
      if (failure) throw fromFailure(failure);
      yield* pages;
    }
  }

  #ask(at: At, keys: readonly PageKey[]): Promise<PagesResponse> {
    const stream = (this.#stream ??= this.#open());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      stream.send({ id, timelineId: at.timelineId, lsn: at.lsn, keys });
    });
  }

  #open(): MessageStream<PagesRequest, PagesResponse> {
    const stream = this.#client.getPages();
    stream.onMessage((answer) => {
      this.#waiting.get(answer.id)?.resolve(answer);
      this.#waiting.delete(answer.id);
    });
    const fail = (error: Error): void => this.#waiting.forEach(({ reject }) => reject(error));
    stream.closed.then(() => fail(new Error('the pageserver ended the stream')), fail);
    return stream;
  }
}
