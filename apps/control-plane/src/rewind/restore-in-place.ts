/**
 * The common end of all restores in place: the transaction that puts the branch on its new timeline, then the end of what runs
 * on the old one.
 */
import {
  type BranchRow,
  type CatalogTables,
  type Db,
  guardQuota,
  insertIdempotent,
  type IdempotencyEntry,
  type LoginNames,
  type OperationRow,
  type QuotaGuard,
  recordAudit,
  recordOperations,
  restoreBranch,
  type RestoreVerdict,
  violatedIndex,
} from '@coppice/catalog';
import { asCoppiceError, type Clock, CoppiceError, Counter, Histogram } from '@coppice/service-kit';
import { type BranchId, formatLsn, type Lsn, type TimelineId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { branchNotFound, type Caller } from '../access/authorize';
import { nameTaken } from '../branches/branches';
import type { SuspendCompute } from '../computes/suspend-compute';
import type { ForkPoint } from '../forks/lineage';
import type { Identifiers } from '../naming/identifiers';
import { finishedOperation } from '../operations/finished-operation';
import type { Quotas } from '../quotas/quotas';
import { endOldComputes } from './end-old-computes';

const restores = new Counter({
  name: 'coppice_branch_restores_total',
  help: 'Branches that were put in place to another state.',
});
const commitSeconds = new Histogram({
  name: 'coppice_branch_restore_commit_seconds',
  help: 'Time of the transaction that puts a branch to another state, without the end of its former compute, seconds.',
  buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2],
});

export interface RestoreInPlaceServices {
  readonly db: Kysely<CatalogTables>;
  readonly quotas: Quotas;
  readonly suspend: SuspendCompute;
  readonly identifiers: Identifiers;
  readonly clock: Clock;
}

/** What is to be done to a branch as it was read. */
export interface RestorePlan {
  readonly branch: BranchRow;
  readonly point: ForkPoint;
  /** Branch or snapshot, as shown to users. */
  readonly restoredFrom: string;
  readonly newParent: { readonly id: BranchId; readonly timestamp: Date | undefined } | undefined;
  readonly isReset: boolean;
  /** Keeps the state before as a branch of this name, or else as a checkpoint at this position. */
  readonly before:
    | { readonly preserveAs: string }
    | { readonly oldHead: Lsn; readonly retentionSeconds: number };
  readonly logins: { readonly branchId: BranchId } | LoginNames | undefined;
  /** Besides the above, for the audit log. */
  readonly detail: Readonly<Record<string, unknown>>;
  /** Unix milliseconds. */
  readonly beganAt: number;
}

export interface Restored {
  readonly branch: BranchRow;
  readonly operations: readonly OperationRow[];
}

export interface Also {
  /** Done in the same transaction. */
  readonly inTransaction?: (tx: Db) => Promise<void>;
  readonly idempotency?: (restored: Restored) => IdempotencyEntry | undefined;
}

export class RestoreInPlace {
  readonly #s: RestoreInPlaceServices;

  constructor(services: RestoreInPlaceServices) {
    this.#s = services;
  }

  /** Throws `branch-busy` when the branch was put on another timeline since it was read: the plan has to be made again. */
  async run(caller: Caller, plan: RestorePlan, also: Also = {}): Promise<Restored> {
    const { quotas } = this.#s;
    const done =
      'preserveAs' in plan.before
        ? await quotas.spend(
            { of: { projectId: plan.branch.project_id }, wants: { branches: 1 }, signal: caller.signal },
            (quota) => this.#commit(caller, plan, also, quota),
          )
        : await this.#commit(caller, plan, also, undefined);
    await this.end(done.branch.id, done.branch.timeline_id, caller.signal);
    return done;
  }

  /** Waits for the end of computes on timelines that the branch has left; again, after a lost answer. */
  async end(id: BranchId, timelineId: TimelineId, signal: AbortSignal): Promise<void> {
    await endOldComputes(this.#s, { id, timelineId }, signal);
  }

  async #commit(
    caller: Caller,
    plan: RestorePlan,
    also: Also,
    quota: QuotaGuard | undefined,
  ): Promise<Restored> {
    const { db, identifiers, clock } = this.#s;
    const { branch, point } = plan;
    const now = new Date(clock.now());
    const began = clock.monotonic();
    const before =
      'preserveAs' in plan.before
        ? { kind: 'preserve' as const, id: identifiers.branch(), name: plan.before.preserveAs }
        : {
            kind: 'checkpoint' as const,
            id: identifiers.checkpoint(),
            name: `before-restore-${now.toISOString()}`,
            lsn: plan.before.oldHead,
            expiresAt: new Date(now.getTime() + plan.before.retentionSeconds * 1000),
          };
    const to = { id: identifiers.timeline(), ancestorId: point.timelineId, ancestorLsn: point.lsn };
    try {
      const committed = await db.transaction().execute(async (tx) => {
        if (quota) await guardQuota(tx, quota);
        const verdict = await restoreBranch(tx, {
          projectId: branch.project_id,
          branchId: branch.id,
          from: branch.timeline_id,
          to,
          beforeSetup: point.beforeSetup,
          restoredFrom: plan.restoredFrom,
          newParent: plan.newParent,
          isReset: plan.isReset,
          before,
          logins: plan.logins,
          actor: caller,
          now,
        });
        if (verdict.kind !== 'restored') throw new Refused(verdict.kind);
        await also.inTransaction?.(tx);
        const operation = (action: string, branchId: BranchId): OperationRow =>
          finishedOperation({
            id: identifiers.operation(),
            action,
            projectId: branch.project_id,
            branchId,
            beganAt: plan.beganAt,
            endedAt: clock.now(),
          });
        const operations = [
          operation('create_timeline', branch.id),
          ...(verdict.preserved ? [operation('create_branch', verdict.preserved.id)] : []),
        ];
        await recordOperations(tx, operations);
        await recordAudit(tx, {
          ...caller.audit,
          action: 'restore-branch',
          projectId: branch.project_id,
          branchId: branch.id,
          detail: {
            ...plan.detail,
            restoredFrom: plan.restoredFrom,
            lsn: formatLsn(point.lsn),
            ...(before.kind === 'preserve'
              ? { preservedAs: before.id, preservedName: before.name }
              : { checkpoint: before.id, oldHead: formatLsn(before.lsn) }),
          },
          now,
        });
        const restored = { branch: verdict.branch, operations };
        const entry = also.idempotency?.(restored);
        if (entry) await insertIdempotent(tx, caller.agentId, entry, now);
        return restored;
      });
      restores.inc();
      commitSeconds.observe((clock.monotonic() - began) / 1000);
      return committed;
    } catch (error) {
      if (before.kind === 'preserve') {
        const taken = nameTaken(error, 'branches_name', before.name);
        if (taken) throw taken;
      }
      // Two restores of one branch within a millisecond.
      if (violatedIndex(error) === 'checkpoints_name') throw branchBusy(branch.id);
      if (!(error instanceof Refused)) throw error;
      throw refusal(error.verdict, plan);
    }
  }
}

/** Rolls the transaction back. */
class Refused extends Error {
  readonly verdict: Exclude<RestoreVerdict['kind'], 'restored'>;

  constructor(verdict: Refused['verdict']) {
    super(verdict);
    this.verdict = verdict;
  }
}

function refusal(verdict: Refused['verdict'], { branch, point }: RestorePlan): CoppiceError {
  switch (verdict) {
    case 'changed':
      return branchBusy(branch.id);
    case 'missing':
      return branchNotFound(branch.id);
    case 'protected':
      return branchProtected(branch.id);
    case 'history-gone':
      return new CoppiceError(
        'Conflict',
        'history-gone',
        `the history that holds LSN ${formatLsn(point.lsn)} is not kept any more`,
        { remedy: 'Choose a later position, or a checkpoint that exists.' },
      );
  }
}

/** The refusal to restore a branch that is protected. */
export function branchProtected(id: BranchId): CoppiceError {
  return new CoppiceError('Conflict', 'branch-protected', `branch ${id} is protected`, {
    remedy: 'Lift the protection first.',
  });
}

/** The refusal when others restore the same branch. */
function branchBusy(id: BranchId): CoppiceError {
  return new CoppiceError('Locked', 'branch-busy', `branch ${id} is being restored by others`, {
    remedy: 'Try again.',
  });
}

/** A plan is made anew so often when the branch was restored meanwhile; then others go first. */
const ATTEMPTS = 3;

/** Does `work`, and again when others were restoring the same branch. */
export async function inTurns<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (asCoppiceError(error).code !== 'branch-busy' || attempt >= ATTEMPTS) throw error;
    }
  }
}
