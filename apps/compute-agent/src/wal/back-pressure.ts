import type { Clock, Log } from '@coppice/service-kit';
import { type Lsn, minLsn } from '@coppice/vocabulary';

const POLL_MS = 50;

export interface BackPressureOptions {
  readonly start: Lsn;
  /** WAL that may be acknowledged beyond what the pageserver has ingested. */
  readonly maxLagBytes: number;
  /** Asks the pageserver how far it is. */
  readonly askIngested: (signal: AbortSignal) => Promise<Lsn>;
  /** The position up to which commits may be acknowledged has moved. */
  readonly onAllowed: (position: Lsn) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Delays acknowledgements while the pageserver is too far behind: a compute that writes faster than pages can be served
 * would make every later read and start wait. What was acknowledged once stays so.
 */
export class BackPressure {
  readonly #options: BackPressureOptions;
  readonly #stop = new AbortController();
  #committed: Lsn;
  #ingested: Lsn;
  #allowed: Lsn;
  #asking = false;
  #lifted = false;

  constructor(options: BackPressureOptions) {
    this.#options = options;
    this.#committed = options.start;
    this.#ingested = options.start;
    this.#allowed = options.start;
  }

  /** What may be acknowledged now. */
  get allowed(): Lsn {
    return this.#allowed;
  }

  /** The quorum has committed up to `position`. */
  committed(position: Lsn): void {
    if (position > this.#committed) this.#committed = position;
    this.#weigh();
  }

  /** The pageserver has ingested up to `position`. */
  ingested(position: Lsn): void {
    if (position <= this.#ingested) return;
    this.#ingested = position;
    this.#weigh();
  }

  /** No more delays: the compute is stopping and its last records must be acknowledged. */
  lift(): void {
    this.#lifted = true;
    this.#weigh();
  }

  stop(): void {
    this.#stop.abort();
  }

  #weigh(): void {
    const limit = (this.#ingested + BigInt(this.#options.maxLagBytes)) as Lsn;
    const allowed = this.#lifted ? this.#committed : minLsn(this.#committed, limit);
    if (this.#committed > this.#ingested + BigInt(this.#options.maxLagBytes / 2)) void this.#ask();
    if (allowed <= this.#allowed) return;
    this.#allowed = allowed;
    this.#options.onAllowed(allowed);
  }

  /** Asks until the lag is below half the limit. */
  async #ask(): Promise<void> {
    if (this.#asking || this.#lifted) return;
    this.#asking = true;
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted && !this.#lifted && this.#committed > this.#ingested + BigInt(this.#options.maxLagBytes / 2)) {
      try {
        this.ingested(await this.#options.askIngested(signal));
        failures = 0;
      } catch (error) {
        if (!signal.aborted && failures++ === 0) this.#options.log.warn({ err: error }, 'the pageserver does not tell its position; commits wait for it');
      }
      await this.#options.clock.sleep(POLL_MS, signal).catch(() => undefined);
    }
    this.#asking = false;
  }
}
