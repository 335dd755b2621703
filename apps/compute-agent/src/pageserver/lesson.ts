import type { PageKey, TimelineId } from '@coppice/vocabulary';
import { after } from '@coppice/service-kit';
import { placeOf } from '../page-source/placed-pages';
import type { StateFile } from '../page-source/state-file';
import type { WarmSets } from './warm-sets';

/** After a compute runs: what is used later is no part of its start. */
const LESSON_MS = 2_000;

export interface LessonOptions {
  readonly warm: WarmSets;
  readonly lineage: bigint;
  readonly timeline: TimelineId;
  /** Keys of the pages that were laid out ahead. */
  readonly given: readonly PageKey[];
  readonly state: Pick<StateFile, 'isUnread'>;
}

/** What one start, or one first look, teaches about the next: which pages it asked for, and which of those it was given nobody read. */
export class Lesson {
  readonly #options: LessonOptions;
  readonly #record: (keys: readonly PageKey[]) => void;
  #cancel: () => void = () => undefined;
  #isOver = false;

  constructor(options: LessonOptions) {
    this.#options = options;
    this.#record = options.warm.recorder(options.lineage, options.timeline);
  }

  learn(keys: readonly PageKey[]): void {
    if (!this.#isOver) this.#record(keys);
  }

  /** The compute runs: its first client comes now. */
  endSoon(): void {
    this.#cancel = after(LESSON_MS, () => this.end());
  }

  /** Draws the conclusions. Only the first call does; the state file must still be open. */
  end(): void {
    if (this.#isOver) return;
    this.drop();
    const { warm, lineage, timeline, given, state } = this.#options;
    warm.judge(
      lineage,
      timeline,
      given.map((key) => {
        const { name, block } = placeOf(key);
        return { key, isUsed: !state.isUnread(name, block) };
      }),
    );
  }

  /** Draws none: what it was of failed. */
  drop(): void {
    this.#isOver = true;
    this.#cancel();
  }
}
