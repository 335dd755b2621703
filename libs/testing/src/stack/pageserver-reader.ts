/** What the pageserver says a timeline holds at a position: the compute image's directory, and any page. */
import {
  connect,
  fromFailure,
  MAX_KEYS_PER_REQUEST,
  pageserverContract,
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
import { serviceOf } from './direct-compute';
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

export class PageserverReader {
  readonly #client;

  constructor(stack: Stack) {
    this.#client = connect(pageserverContract, serviceOf(stack, 'pageserver'));
  }

  close(): void {
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
    for await (const part of this.#client.getComputeImage(at)) {
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

  /** The pages, in the order of the keys; a few requests are under way at once. */
  async *pages(at: At, keys: readonly PageKey[]): AsyncGenerator<Buffer> {
    const stream = this.#client.getPages();
    const answers = new Map<number, (answer: PagesResponse) => void>();
    stream.onMessage((answer) => answers.get(answer.id)?.(answer));
    stream.closed.catch(() => undefined);
    const ask = (id: number): Promise<PagesResponse> =>
      new Promise((resolve, reject) => {
        answers.set(id, resolve);
        stream.closed.then(() => reject(new Error('the pageserver ended the stream')), reject);
        const from = id * MAX_KEYS_PER_REQUEST;
        stream.send({ id, ...at, keys: keys.slice(from, from + MAX_KEYS_PER_REQUEST) });
      });
    const requests = Math.ceil(keys.length / MAX_KEYS_PER_REQUEST);
    const underWay: Promise<PagesResponse>[] = [];
    try {
      for (let id = 0, next = 0; id < requests; id++) {
        while (next < requests && underWay.length < 4) {
          const asked = ask(next++);
          asked.catch(() => undefined);
          underWay.push(asked);
        }
        const { pages, failure } = await underWay.shift()!;
        answers.delete(id);
        if (failure) throw fromFailure(failure);
        yield* pages;
      }
    } finally {
      stream.cancel();
    }
  }
}
