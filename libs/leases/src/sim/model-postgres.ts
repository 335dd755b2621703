import { type Amounts, type Counts, minus, NO_COUNTS, plus } from '@coppice/quotas';
import { CoppiceError } from '@coppice/service-kit';
import type { Inserted, QuotaTruth } from '../quota-ledger';
import type { AgentCounters } from '../quota-store';
import type { Dice, Interleaver, SimProcess } from './interleaver';

/** Ways to get the transactions wrong. */
export type PostgresFlaw =
  | 'no-epoch-bump'
  | 'no-epoch-check'
  | 'count-in-another-transaction'
  | 'no-share-lock';

/** One that holds a lock. */
interface Transaction {
  readonly process: SimProcess;
}

/**
 * The row of one agent and what it has, with row locks as PostgreSQL has them: a share lock until the end of each insert and
 * delete, an exclusive one until the end of an update. A session that loses its connection aborts what is not committed.
 */
export class ModelPostgres {
  epoch = 1;
  rows: Counts = NO_COUNTS;
  readonly #interleaver: Interleaver;
  readonly #dice: Dice;
  readonly #failures: number;
  readonly #flaw: PostgresFlaw | undefined;
  #sharers: Transaction[] = [];
  #updater: Transaction | undefined;

  constructor(interleaver: Interleaver, dice: Dice, failures: number, flaw: PostgresFlaw | undefined) {
    this.#interleaver = interleaver;
    this.#dice = dice;
    this.#failures = failures;
    this.#flaw = flaw;
  }

  kill(process: SimProcess): void {
    this.#sharers = this.#sharers.filter((transaction) => transaction.process !== process);
    if (this.#updater?.process === process) this.#updater = undefined;
  }

  async insert(process: SimProcess, epoch: number, amounts: Amounts): Promise<Inserted<number>> {
    return this.#withShareLock(process, async () => {
      const isStale = epoch !== this.epoch && this.#flaw !== 'no-epoch-check';
      await this.#step(process);
      if (isStale) return { kind: 'stale' };
      this.rows = plus(this.rows, amounts);
      return { kind: 'committed', value: epoch };
    });
  }

  /** Deletes up to `amounts`; tells what and under which epoch. */
  async remove(process: SimProcess, amounts: Amounts): Promise<{ removed: Amounts; epoch: number }> {
    return this.#withShareLock(process, async () => {
      const { epoch } = this;
      await this.#step(process);
      const left = minus(this.rows, amounts);
      const removed = minus(this.rows, left);
      this.rows = left;
      return { removed, epoch };
    });
  }

  /** As seen by one process. */
  truthFor(process: SimProcess): QuotaTruth {
    return { advance: (_agentId, above) => this.#advance(process, above) };
  }

  async #advance(process: SimProcess, above: number): Promise<AgentCounters> {
    await this.#step(process);
    while (this.#updater || (this.#sharers.length > 0 && this.#flaw !== 'no-share-lock'))
      await this.#interleaver.pause(process);
    const transaction: Transaction = { process };
    this.#updater = transaction;
    try {
      await this.#step(process);
      const epoch = this.#flaw === 'no-epoch-bump' ? this.epoch : Math.max(this.epoch, above) + 1;
      let counts = this.rows;
      await this.#step(process);
      this.epoch = epoch;
      this.#updater = undefined;
      await this.#step(process);
      if (this.#flaw === 'count-in-another-transaction') counts = this.rows;
      return { epoch, counts };
    } finally {
      if (this.#updater === transaction) this.#updater = undefined;
    }
  }

  async #withShareLock<T>(process: SimProcess, work: () => Promise<T>): Promise<T> {
    await this.#step(process);
    while (this.#updater) await this.#interleaver.pause(process);
    const transaction: Transaction = { process };
    this.#sharers.push(transaction);
    let result: T;
    try {
      result = await work();
    } finally {
      this.#sharers = this.#sharers.filter((one) => one !== transaction);
    }
    await this.#step(process);
    return result;
  }

  /** Time passes; now and then the connection breaks. */
  async #step(process: SimProcess): Promise<void> {
    await this.#interleaver.pause(process);
    if (this.#dice.chance(this.#failures))
      throw new CoppiceError('Unavailable', 'metadata-unavailable', 'the connection is lost');
  }
}
