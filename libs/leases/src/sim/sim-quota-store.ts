import type { AgentLimits, Amounts, Counts } from '@coppice/quotas';
import { CoppiceError } from '@coppice/service-kit';
import { EmbeddedQuotaStore } from '../embedded/embedded-quota-store';
import type { AgentCounters, QuotaStore, RateAnswer, Reservation } from '../quota-store';
import type { Dice, Interleaver, SimProcess } from './interleaver';

/** Ways to get the store wrong. */
export type StoreFlaw = 'release-ignores-epoch' | 'rebuild-is-repeated';

/** A store behind a network that loses questions and answers, which itself loses everything now and then. */
export class SimQuotaStore {
  readonly #interleaver: Interleaver;
  readonly #dice: Dice;
  readonly #failures: number;
  readonly #flaw: StoreFlaw | undefined;
  #inner = new EmbeddedQuotaStore();

  constructor(interleaver: Interleaver, dice: Dice, failures: number, flaw: StoreFlaw | undefined) {
    this.#interleaver = interleaver;
    this.#dice = dice;
    this.#failures = failures;
    this.#flaw = flaw;
  }

  loseEverything(): void {
    this.#inner = new EmbeddedQuotaStore();
  }

  now(agentId: string): Promise<AgentCounters | undefined> {
    return this.#inner.read(agentId);
  }

  /** As seen by one process. */
  for(process: SimProcess): QuotaStore {
    const call = <T>(run: (store: EmbeddedQuotaStore) => Promise<T>): Promise<T> => this.#call(process, run);
    return {
      reserve: (id: string, wants: Amounts, limits: AgentLimits): Promise<Reservation> =>
        call((store) => store.reserve(id, wants, limits)),
      release: (id: string, amounts: Amounts, epoch: number): Promise<void> =>
        call((store) => this.#release(store, id, amounts, epoch)),
      rebuild: (id: string, counts: Counts, epoch: number): Promise<number> =>
        call((store) => this.#rebuild(process, store, id, counts, epoch)),
      read: (id: string) => call((store) => store.read(id)),
      forget: (id: string) => call((store) => store.forget(id)),
      takeRequest: (id: string, rate: number, burst: number): Promise<RateAnswer> =>
        call((store) => store.takeRequest(id, rate, burst)),
    };
  }

  async #call<T>(process: SimProcess, run: (store: EmbeddedQuotaStore) => Promise<T>): Promise<T> {
    await this.#network(process);
    const answer = await run(this.#inner);
    await this.#network(process);
    return answer;
  }

  async #network(process: SimProcess): Promise<void> {
    await this.#interleaver.pause(process);
    if (this.#dice.chance(this.#failures))
      throw new CoppiceError('Unavailable', 'quota-store-unavailable', 'no answer');
  }

  async #release(store: EmbeddedQuotaStore, id: string, amounts: Amounts, epoch: number): Promise<void> {
    const held = this.#flaw === 'release-ignores-epoch' ? await store.read(id) : undefined;
    return store.release(id, amounts, held?.epoch ?? epoch);
  }

  async #rebuild(
    process: SimProcess,
    store: EmbeddedQuotaStore,
    id: string,
    counts: Counts,
    epoch: number,
  ): Promise<number> {
    if (this.#flaw === 'rebuild-is-repeated') void this.#again(process, id, counts, epoch);
    return store.rebuild(id, counts, epoch);
  }

  /** As a client does that sends again what was not answered. */
  async #again(process: SimProcess, id: string, counts: Counts, epoch: number): Promise<void> {
    for (let i = 0; i < 4; i++) await this.#interleaver.pause(process);
    await this.#inner.rebuild(id, counts, epoch);
  }
}
