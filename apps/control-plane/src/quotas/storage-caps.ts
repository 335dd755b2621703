/**
 * Limits on storage, set on computes: at the cap Postgres gets ENOSPC and answers writes with SQLSTATE 53100. A cap is set at
 * the start and anew while the compute runs, since other branches of the agent grow and shrink, too.
 */
import { type Db, findStorageLimited, findTemplate, type StorageLimited } from '@coppice/catalog';
import { storageAllowance } from '@coppice/quotas';
import {
  asCoppiceError,
  BackgroundLoop,
  type Clock,
  type Log,
  part,
  type Part,
  Semaphore,
} from '@coppice/service-kit';
import type { ComputeId, EndpointId } from '@coppice/vocabulary';
import { PG_VERSION } from '../naming/limits';
import type { Peers } from '../peers';

const SET_EVERY_MS = 2_000;
const BATCH = 200;
/** Caps under way at once, so that an agent that does not answer holds up few. */
const AT_ONCE = 32;
/** What a template is taken to hold while nobody can tell: no less than it does, so that no start is refused. */
const UNKNOWN_TEMPLATE_BYTES = 32 * 1024 * 1024;
const AGENT_DEADLINE_MS = 2_000;
const PAGESERVER_DEADLINE_MS = 2_000;
/** Caps remembered so that an unchanged one is not sent again. */
const MAX_REMEMBERED = 10_000;

export interface StorageCapServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Log;
}

export class StorageCaps {
  readonly #s: StorageCapServices;
  readonly #loop: BackgroundLoop;
  readonly #sent = new Map<ComputeId, number>();
  #templateBytes: number | undefined;

  constructor(services: StorageCapServices) {
    this.#s = services;
    this.#loop = new BackgroundLoop({
      name: 'set-storage-caps',
      everyMs: SET_EVERY_MS,
      log: services.log,
      run: () => this.apply(),
    });
  }

  /** The cap for a compute that starts, bytes of logical size; 0: none. */
  async atStart(endpointId: EndpointId): Promise<number> {
    const [limited] = await findStorageLimited(this.#s.db, { endpointId });
    return limited ? this.#capOf(limited) : 0;
  }

  /** One round over computes that run under a limit. */
  async apply(): Promise<void> {
    let afterId = '';
    const seen = new Set<ComputeId>();
    for (;;) {
      const batch = await findStorageLimited(this.#s.db, { afterId, limit: BATCH });
      for (const { computeId } of batch) seen.add(computeId);
      const permits = new Semaphore(AT_ONCE);
      await Promise.all(batch.map((limited) => permits.run(() => this.#set(limited))));
      if (batch.length < BATCH) break;
      afterId = batch.at(-1)!.computeId;
    }
    for (const id of this.#sent.keys()) if (!seen.has(id)) this.#sent.delete(id);
  }

  async #set(limited: StorageLimited): Promise<void> {
    const cap = await this.#capOf(limited);
    const { computeId } = limited;
    if (this.#sent.get(computeId) === cap) return;
    try {
      await this.#s.peers
        .agent(limited.nodeAddress)
        .setComputeLimits(
          { computeId, storageLimitBytes: cap, computeUnits: 0 },
          { deadlineMs: AGENT_DEADLINE_MS },
        );
      if (this.#sent.size < MAX_REMEMBERED) this.#sent.set(computeId, cap);
    } catch (error) {
      this.#s.log.warn(
        { err: error, computeId, code: asCoppiceError(error).code },
        'storage cap is not set yet',
      );
    }
  }

  /** At least a byte: 0 means no cap to agents. */
  async #capOf(limited: StorageLimited): Promise<number> {
    const branchBytes = limited.branchBytes ?? (await this.#bytesOfNewRoot());
    return Math.max(1, storageAllowance({ ...limited, branchBytes }) ?? 0);
  }

  /** A root that nobody has measured yet holds what its template does, which never changes. */
  async #bytesOfNewRoot(): Promise<number> {
    if (this.#templateBytes !== undefined) return this.#templateBytes;
    const { db, peers, log } = this.#s;
    try {
      const template = await findTemplate(db, PG_VERSION);
      const timelineIds = template ? [template.timelineId] : [];
      const { sizes } = await peers.pageserver.getTimelineSizes(
        { timelineIds },
        { deadlineMs: PAGESERVER_DEADLINE_MS },
      );
      const [size] = sizes;
      if (size?.state === 'known' && !size.logicalSizeIsEstimate) this.#templateBytes = size.logicalSizeBytes;
    } catch (error) {
      log.debug({ err: error }, 'the size of the template is not known yet');
    }
    return this.#templateBytes ?? UNKNOWN_TEMPLATE_BYTES;
  }

  asPart(): Part {
    return part(
      'storage caps',
      () => this.#loop.start(),
      () => this.#loop.stop(),
    );
  }
}
