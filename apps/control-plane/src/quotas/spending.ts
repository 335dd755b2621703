/**
 * Limits on what is used over a month: compute seconds of an agent, and the quotas of a project. A compute does not start over
 * a limit, and one that runs is suspended soon after it is reached: the accounts are some seconds behind.
 */
import {
  type Db,
  findCompute,
  findLimitReached,
  findOverLimit,
  type LimitReached,
  recordAudit,
  type SpendingLimit,
} from '@coppice/catalog';
import { computePeriod, exceededText } from '@coppice/quotas';
import {
  asCoppiceError,
  BackgroundLoop,
  type Clock,
  CoppiceError,
  Counter,
  type Log,
  part,
  type Part,
  Semaphore,
} from '@coppice/service-kit';
import type { ComputeId, EndpointId } from '@coppice/vocabulary';
import type { SuspendCompute } from '../computes/suspend-compute';

const suspended = new Counter({
  name: 'coppice_quota_suspends_total',
  help: 'Computes that were suspended because a limit of their agent or project was reached.',
  labelNames: ['limit'],
});

const ENFORCE_EVERY_MS = 2_000;
const BATCH = 100;
/** Suspends under way at once, and how long a round waits for each, milliseconds. */
const AT_ONCE = 16;
const WAIT_MS = 3_000;

/** What a project's limits are called in its settings. */
const PROJECT_QUOTAS: Record<Exclude<SpendingLimit, 'agent-compute-seconds'>, string> = {
  'project-active-seconds': 'active_time_seconds',
  'project-compute-seconds': 'compute_time_seconds',
  'project-written-bytes': 'written_data_bytes',
  'project-transferred-bytes': 'data_transfer_bytes',
};

export interface SpendingServices {
  readonly db: Db;
  readonly suspend: SuspendCompute;
  readonly clock: Clock;
  readonly log: Log;
}

export class Spending {
  readonly #s: SpendingServices;
  readonly #loop: BackgroundLoop;

  constructor(services: SpendingServices) {
    this.#s = services;
    this.#loop = new BackgroundLoop({
      name: 'enforce-spending',
      everyMs: ENFORCE_EVERY_MS,
      log: services.log,
      run: () => this.enforce(),
    });
  }

  /** Throws `QuotaExceeded` when the endpoint's compute may not start this month. */
  async check(endpointId: EndpointId): Promise<void> {
    const { db, clock } = this.#s;
    const { startMs, endMs } = computePeriod(clock.now());
    const reached = await findLimitReached(db, endpointId, new Date(startMs));
    if (reached) throw limitReached(reached, endMs);
  }

  /** One round: suspends what runs over a limit. What takes long to end holds up nothing else. */
  async enforce(): Promise<void> {
    const { db, clock } = this.#s;
    const { startMs } = computePeriod(clock.now());
    const permits = new Semaphore(AT_ONCE);
    const over = await findOverLimit(db, new Date(startMs), BATCH);
    await Promise.all(over.map((reached) => permits.run(() => this.#suspend(reached))));
  }

  async #suspend({ computeId, ...reached }: LimitReached & { readonly computeId: ComputeId }): Promise<void> {
    const { db, suspend, clock, log } = this.#s;
    const row = await findCompute(db, computeId);
    if (!row) return;
    try {
      // Once begun, a stop is brought to its end by whoever looks for left-over ones.
      const slow = clock.sleep(WAIT_MS).then(() => 'slow' as const);
      if (!(await Promise.race([suspend.suspend(row), slow]))) return;
    } catch (error) {
      log.warn(
        { err: error, computeId, code: asCoppiceError(error).code },
        'compute over a limit still runs',
      );
      return;
    }
    suspended.inc({ limit: reached.limit });
    log.info({ computeId, endpointId: row.endpoint_id, ...reached }, 'compute over a limit is suspended');
    await recordAudit(db, {
      agentId: 'control-plane',
      taskId: undefined,
      action: 'suspend-over-limit',
      projectId: row.project_id,
      branchId: row.branch_id,
      endpointId: row.endpoint_id,
      detail: reached,
      now: new Date(clock.now()),
    });
  }

  asPart(): Part {
    return part(
      'spending limits',
      () => this.#loop.start(),
      () => this.#loop.stop(),
    );
  }
}

function limitReached({ limit, allowed, used }: LimitReached, periodEndMs: number): CoppiceError {
  if (limit === 'agent-compute-seconds') {
    const { message, remedy } = exceededText('computeSeconds', {
      limit: allowed,
      used: Math.round(used),
      againAtMs: periodEndMs,
    });
    return new CoppiceError('QuotaExceeded', 'compute-seconds-exceeded', message, { remedy });
  }
  const name = PROJECT_QUOTAS[limit];
  return new CoppiceError(
    'QuotaExceeded',
    'project-quota-exceeded',
    `this project used ${Math.round(used)} of its ${name} quota of ${allowed} this month`,
    {
      remedy: `Computes start again at ${new Date(periodEndMs).toISOString()}, or raise settings.quota.${name} of the project.`,
    },
  );
}
