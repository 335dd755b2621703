import type { PageKey, TimelineId } from '@coppice/vocabulary';
import { after } from '@coppice/service-kit';
import type { ComputeImage } from '../prepare/compute-image';
import { placeOf } from '../page-source/placed-pages';
import type { StateFile } from '../page-source/state-file';
import type { WarmSets } from './warm-sets';

/** After a compute runs: what is used later is no part of its start. */
const LESSON_MS = 2_000;

export interface StartLessonOptions {
  readonly warm: WarmSets;
  readonly image: ComputeImage;
  readonly timeline: TimelineId;
  readonly state: Pick<StateFile, 'isUnread'>;
}

/** What one start teaches about the next: which pages it asked for, and which of those it was given nobody read. */
export class StartLesson {
  readonly #state: StartLessonOptions['state'];
  /** Keys alone: the image with its pages is needed no more once it is laid out, and its compute may run for days. */
  readonly #given: readonly PageKey[];
  readonly #judge: (given: Iterable<{ readonly key: PageKey; readonly isUsed: boolean }>) => void;
  readonly #record: (keys: readonly PageKey[]) => void;
  #cancel: () => void = () => undefined;
  #isOver = false;

  constructor({ warm, image: { systemIdentifier, warmPages }, timeline, state }: StartLessonOptions) {
    this.#state = state;
    this.#given = warmPages.map(({ key }) => key);
    this.#judge = (given) => warm.judge(systemIdentifier, timeline, given);
    this.#record = warm.recorder(systemIdentifier, timeline);
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
    this.#judge(
      this.#given.map((key) => {
        const { name, block } = placeOf(key);
        return { key, isUsed: !this.#state.isUnread(name, block) };
      }),
    );
  }

  /** Draws none: the start failed. */
  drop(): void {
    this.#isOver = true;
    this.#cancel();
  }
}
