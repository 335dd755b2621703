import { anySignal, type Log, withDeadline } from '@coppice/service-kit';
import { KeyKind, type PageKey, pageKeyFields, relationOfKey, type TimelineId } from '@coppice/vocabulary';
import { placedPages, placeOf } from '../page-source/placed-pages';
import type { RelationFiles } from '../page-source/relation-files';
import type { StateFile } from '../page-source/state-file';
import type { ComputeImage } from '../prepare/compute-image';
import { Lesson } from './lesson';
import type { WarmSets } from './warm-sets';

/** Of the maintenance database, to which a look connects (`PostgresDbOid`, src/include/catalog/pg_database.dat). */
const POSTGRES_DATABASE = 5;
/** Much less than anybody waits for a look, milliseconds. */
const DEADLINE_MS = 500;

export interface FirstLookOptions {
  /** What first looks at other computes read. */
  readonly warm: WarmSets;
  readonly lineage: bigint;
  readonly timeline: TimelineId;
  /** These pages and their relations, as they were at the start of the compute. */
  readonly askImage: (wanted: readonly PageKey[], signal: AbortSignal) => Promise<ComputeImage>;
  readonly relations: Pick<RelationFiles, 'layAhead' | 'isListed'>;
  readonly state: Pick<StateFile, 'isUnread' | 'closed'>;
  readonly log: Log;
}

/**
 * The first look at what a compute is used for is the first session of a database that no client uses: it reads a hundred pages of
 * catalogs of which none is there. They are laid out ahead of it, as far as earlier first looks read them, with their relations.
 */
export class FirstLook {
  readonly #options: FirstLookOptions;
  #hasBegun = false;
  #lesson: Lesson | undefined;

  constructor(options: FirstLookOptions) {
    this.#options = options;
  }

  /** Before the session is opened, once; without it the look takes longer, no more. Rejects only when `signal` fires. */
  async begin(signal: AbortSignal): Promise<void> {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    const { warm, lineage, timeline, state, log } = this.#options;
    const given = await this.#lay(withDeadline(DEADLINE_MS, anySignal([signal, state.closed]))).catch((error: unknown) => {
      log.debug({ err: error }, 'nothing is laid out ahead of a first look');
      return [];
    });
    signal.throwIfAborted();
    this.#lesson = new Lesson({ warm, lineage, timeline, given, state });
  }

  /** Hears what processes of the server ask for; clients' own databases are no part of a look. */
  learn(keys: readonly PageKey[]): void {
    this.#lesson?.learn(keys.filter(isOfLook));
  }

  /** The look is over. */
  end(): void {
    this.#lesson?.end();
    this.#lesson = undefined;
  }

  async #lay(signal: AbortSignal): Promise<PageKey[]> {
    const { warm, lineage, timeline, relations, askImage } = this.#options;
    const wanted = warm.keysFor(lineage, timeline).filter((key) => !relations.isListed(relationOfKey(key)));
    if (wanted.length === 0) return [];
    const image = await askImage(wanted, signal);
    const laid = await relations.layAhead(image, placedPages(image.warmPages), signal);
    return image.warmPages.map(({ key }) => key).filter((key) => laid.has(placeOf(key).name));
  }
}

function isOfLook(key: PageKey): boolean {
  const { kind, database } = pageKeyFields(key);
  return kind !== KeyKind.slruPage && (database === 0 || database === POSTGRES_DATABASE);
}
