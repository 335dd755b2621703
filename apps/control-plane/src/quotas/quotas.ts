/**
 * Hard limits on what agents have: reserve, insert under the reservation, give back what ends. The protocol is that of
 * `QuotaLedger`; here it meets the metadata.
 */
import {
  advanceQuotaEpoch,
  type CatalogTables,
  findOwner,
  listCountedAgents,
  type ProjectOwner,
  type QuotaGuard,
  StaleQuota,
  takeQuotaReleases,
} from '@coppice/catalog';
import { QuotaLedger, type QuotaStore } from '@coppice/leases';
import type { Amounts } from '@coppice/quotas';
import {
  asCoppiceError,
  BackgroundLoop,
  CoppiceError,
  Counter,
  type Log,
  part,
  type Part,
} from '@coppice/service-kit';
import type { Kysely } from 'kysely';
import { agentNotFound } from '../agents/not-found';

const GIVE_BACK_EVERY_MS = 500;
const GIVE_BACK_BATCH = 1_000;
const REPAIR_EVERY_MS = 60_000;
const REPAIR_BATCH = 200;
/** Limits may change while something is made under them: read anew so often. */
const ATTEMPTS = 4;

const repaired = new Counter({
  name: 'coppice_quota_repairs_total',
  help: 'Agents whose counters were not what they have, and were set right.',
});

export interface QuotaServices {
  readonly db: Kysely<CatalogTables>;
  readonly store: QuotaStore;
  readonly log: Log;
}

export interface Wanted {
  /** Whose it will be: the agent, or the owner of the project. */
  readonly of: { readonly agentId: string } | { readonly projectId: string };
  readonly wants: Amounts;
  readonly signal?: AbortSignal;
  /** The owner when it was just read; saves a look. */
  readonly owner?: ProjectOwner;
}

export class Quotas {
  readonly #s: QuotaServices;
  readonly #ledger: QuotaLedger;
  readonly #loops: readonly BackgroundLoop[];
  readonly #giving = new Set<Promise<void>>();
  #repairedUpTo = '';

  constructor(services: QuotaServices) {
    this.#s = services;
    const { db, store, log } = services;
    this.#ledger = new QuotaLedger({
      store,
      log,
      truth: { advance: (agentId, above) => advanceQuotaEpoch(db, agentId, above) },
    });
    this.#loops = [
      new BackgroundLoop({
        name: 'give-back-quota',
        everyMs: GIVE_BACK_EVERY_MS,
        log,
        run: () => this.giveBack(),
      }),
      new BackgroundLoop({ name: 'repair-quota', everyMs: REPAIR_EVERY_MS, log, run: () => this.repair() }),
    ];
  }

  /**
   * Makes something countable: `make` gets the guard that its transaction has to check, and throws `StaleQuota` when that does
   * not hold. Throws `QuotaExceeded` at a limit.
   */
  async spend<T>(wanted: Wanted, make: (guard: QuotaGuard) => Promise<T>): Promise<T> {
    let { owner } = wanted;
    for (let attempt = 1; ; attempt++) {
      owner ??= await findOwner(this.#s.db, wanted.of);
      if (!owner) throw agentNotFound('agentId' in wanted.of ? wanted.of.agentId : 'of this project');
      try {
        return await this.#spend(wanted, owner, make);
      } catch (error) {
        if (!(error instanceof StaleQuota)) throw error;
        if (attempt >= ATTEMPTS)
          throw new CoppiceError('Unavailable', 'quota-contended', 'the limits of this agent keep changing', {
            remedy: 'Send the request again.',
            cause: error,
          });
        owner = undefined;
      }
    }
  }

  async #spend<T>(
    { wants, signal }: Wanted,
    { agentId, limits }: ProjectOwner,
    make: (guard: QuotaGuard) => Promise<T>,
  ): Promise<T> {
    if (limits.projects === undefined && limits.branches === undefined && limits.computes === undefined)
      return make({ agentId, epoch: undefined, limits });
    // What just ended may still wait to be given back.
    await this.giveBack(agentId);
    return this.#ledger.spend<T>({ agentId, wants, limits, signal }, async (epoch) => {
      try {
        return { kind: 'committed', value: await make({ agentId, epoch, limits }) };
      } catch (error) {
        if (error instanceof StaleQuota && error.why === 'epoch') return { kind: 'stale' };
        throw error;
      }
    });
  }

  /**
   * Gives back what ended; of one agent, or of all. Also waits for what others here have taken and not given back yet: whoever
   * took what is not found here any more has begun by the time that it is not found.
   */
  async giveBack(agentId?: string): Promise<void> {
    const own = this.#giveBack(agentId).finally(() => this.#giving.delete(own));
    this.#giving.add(own);
    await own;
    await Promise.allSettled(this.#giving);
  }

  async #giveBack(agentId?: string): Promise<void> {
    const releases = await takeQuotaReleases(this.#s.db, {
      limit: GIVE_BACK_BATCH,
      ...(agentId === undefined ? {} : { agentId }),
    });
    for (const { agentId: of, amounts, epoch } of releases) await this.#ledger.giveBack(of, amounts, epoch);
  }

  /** One round over some agents with limits: whose counters are not what they have is counted anew. */
  async repair(): Promise<void> {
    const { db, store, log } = this.#s;
    const ids = await listCountedAgents(db, this.#repairedUpTo, REPAIR_BATCH);
    this.#repairedUpTo = ids.length < REPAIR_BATCH ? '' : ids.at(-1)!;
    for (const id of ids) {
      try {
        const before = await store.read(id);
        // Without counters the next reservation has them taken.
        if (!before) continue;
        const counts = await this.#ledger.recount(id);
        if (counts && JSON.stringify(counts) !== JSON.stringify(before.counts)) {
          repaired.inc();
          log.info({ agent: id, before: before.counts, counts }, 'quota counters are set right');
        }
      } catch (error) {
        log.warn({ err: error, agent: id, code: asCoppiceError(error).code }, 'quota is not looked at');
      }
    }
  }

  asPart(): Part {
    return part(
      'quotas',
      () => this.#loops.forEach((loop) => loop.start()),
      async () => {
        await Promise.all(this.#loops.map((loop) => loop.stop()));
        await this.giveBack().catch(() => undefined);
      },
    );
  }
}
