import type { Log } from '@coppice/service-kit';
import type { PageKey, TimelineId } from '@coppice/vocabulary';
import { placedPages, placeOf } from '../page-source/placed-pages';
import type { RelationFiles } from '../page-source/relation-files';
import type { StateFile } from '../page-source/state-file';
import type { ComputeImage } from '../prepare/compute-image';
import { Lesson } from './lesson';
import type { WarmSets } from './warm-sets';

export interface FirstLookOptions {
  /** What first looks at other computes read. */
  readonly warm: WarmSets;
  readonly lineage: bigint;
  readonly timeline: TimelineId;
  /** These pages and their relations, as they were at the start of the compute. */
  readonly askImage: (wanted: readonly PageKey[], signal: AbortSignal) => Promise<ComputeImage>;
  readonly relations: Pick<RelationFiles, 'layAhead'>;
  readonly state: Pick<StateFile, 'isUnread'>;
  readonly log: Log;
}

/**
 * The first look at what a compute is used for is the first session of a database that no client uses: it reads a hundred pages of
 * catalogs of which none is there. They are laid out ahead of it, as far as earlier first looks read them, with their relations.
 */
export class FirstLook {
  readonly #options: FirstLookOptions;
  #lesson: Lesson | undefined;

  constructor(options: FirstLookOptions) {
    this.#options = options;
  }

  /** Before the session is opened; without it the look takes longer, no more. */
  async begin(signal: AbortSignal): Promise<void> {
    const { warm, lineage, timeline, state, log } = this.#options;
    const wanted = warm.keysFor(lineage, timeline);
    const given = await this.#lay(wanted, signal).catch((error: unknown) => {
      log.debug({ err: error }, 'nothing is laid out ahead of a first look');
      return [];
    });
    this.#lesson?.drop();
    this.#lesson = new Lesson({ warm, lineage, timeline, given, state });
  }

  /** Hears what processes of the server ask for. */
  learn(keys: readonly PageKey[]): void {
    this.#lesson?.learn(keys);
  }

  /** The look is over. */
  end(): void {
    this.#lesson?.end();
    this.#lesson = undefined;
  }

  async #lay(wanted: readonly PageKey[], signal: AbortSignal): Promise<PageKey[]> {
    if (wanted.length === 0) return [];
    const image = await this.#options.askImage(wanted, signal);
    signal.throwIfAborted();
    const laid = this.#options.relations.layAhead(image, placedPages(image.warmPages));
    return image.warmPages.map(({ key }) => key).filter((key) => laid.has(placeOf(key).name));
  }
}
