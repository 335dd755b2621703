import type { Log } from '@coppice/service-kit';
import { CoppiceError, SequenceWait, systemClock, withDeadline } from '@coppice/service-kit';
import type { Generation } from '@coppice/vocabulary';

const RETRY_MS = 250;
const WAIT_MS = 20_000;

export interface AttachmentOptions {
  /** Asks the control-plane for a generation larger than any given before. */
  readonly attach: (signal: AbortSignal) => Promise<Generation>;
  /** Makes the generation known before anything is read. */
  readonly announce?: (generation: Generation, signal: AbortSignal) => Promise<void>;
  readonly log: Log;
}

/** This process's generation: asked for at start, until the control-plane answers; nothing is read or written before. */
export class Attachment {
  readonly #options: AttachmentOptions;
  readonly #generation = new SequenceWait<number>(-1);
  readonly #stop = new AbortController();
  #done: Promise<void> | undefined;

  constructor(options: AttachmentOptions) {
    this.#options = options;
  }

  start(): void {
    this.#done ??= this.#attach();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  /** The generation, once it is known. */
  async generation(signal?: AbortSignal): Promise<Generation> {
    if (this.#generation.value < 0) {
      const deadline = withDeadline(WAIT_MS, signal);
      await this.#generation.waitFor(0, deadline).catch((error: unknown) => {
        if (signal?.aborted) throw signal.reason;
        throw new CoppiceError('Unavailable', 'not-attached', 'the control-plane has not given this pageserver a generation', {
          cause: error,
          remedy: 'Check that the control-plane runs, then try again.',
        });
      });
    }
    return this.#generation.value as Generation;
  }

  async #attach(): Promise<void> {
    const { attach, announce, log } = this.#options;
    let isReported = false;
    while (!this.#stop.signal.aborted) {
      try {
        const generation = await attach(this.#stop.signal);
        await announce?.(generation, this.#stop.signal);
        log.info({ generation }, 'attached');
        this.#generation.advance(generation);
        return;
      } catch (error) {
        if (!isReported && !this.#stop.signal.aborted) log.info({ err: error }, 'control-plane does not attach this pageserver yet, keeps asking');
        isReported = true;
        await systemClock.sleep(RETRY_MS, this.#stop.signal).catch(() => undefined);
      }
    }
  }
}
