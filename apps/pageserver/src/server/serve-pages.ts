import type { MessageStream, PagesRequest, PagesResponse } from '@coppice/contracts';
import { MAX_KEYS_PER_REQUEST, toFailure } from '@coppice/contracts';
import type { Log } from '@coppice/service-kit';
import { asCoppiceError, Counter, CoppiceError } from '@coppice/service-kit';

/** Requests of one stream under way at once; beyond it the stream is not read. */
const MAX_UNDER_WAY = 64;
/** Error kinds that are worth a line in our own log. */
const OURS = new Set(['Internal', 'Corrupt']);

const servedPages = new Counter({ name: 'coppice_pageserver_served_pages_total', help: 'Pages sent to computes.' });

export interface ServePagesOptions {
  readonly read: (request: PagesRequest) => Promise<readonly Buffer[]>;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Answers each request of the stream once, in any order; a failed one in its message. Returns when the client is done. */
export async function servePages(stream: MessageStream<PagesResponse, PagesRequest>, { read, log, signal }: ServePagesOptions): Promise<void> {
  const underWay = new Set<Promise<void>>();
  const answer = async (request: PagesRequest): Promise<void> => {
    let response: PagesResponse;
    try {
      checkKeys(request);
      const pages = await read(request);
      servedPages.inc(pages.length);
      response = { id: request.id, pages };
    } catch (error) {
      if (signal.aborted) return;
      const known = asCoppiceError(error);
      if (OURS.has(known.kind)) log.error({ err: error, timeline: request.timelineId }, 'pages cannot be read');
      response = { id: request.id, pages: [], failure: toFailure(known) };
    }
    if (!stream.send(response)) await stream.drained();
  };
  stream.onMessage((request) => {
    const work = answer(request).finally(() => {
      underWay.delete(work);
      if (underWay.size === MAX_UNDER_WAY - 1) stream.resume();
    });
    underWay.add(work);
    if (underWay.size >= MAX_UNDER_WAY) stream.pause();
  });
  await stream.closed;
  await Promise.all(underWay);
}

function checkKeys({ keys }: PagesRequest): void {
  if (keys.length >= 1 && keys.length <= MAX_KEYS_PER_REQUEST) return;
  throw new CoppiceError('Invalid', 'bad-key-count', `a pages request names ${keys.length} keys`, { remedy: `Name 1 to ${MAX_KEYS_PER_REQUEST} keys.` });
}
