/**
 * Ends branches whose time to live is over, each in a transaction of its own. One that was used since is put off; so is one that
 * may not go now, for a while, so that it does not hold up the others.
 */
import {
  type BranchRow,
  type Db,
  type DueItem,
  findBranch,
  findDue,
  lockBranches,
  lockLastUse,
  lockProjectTree,
  lockSubtree,
  postponeExpiry,
} from '@coppice/catalog';
import type { SweptItem } from '@coppice/contracts';
import { asCoppiceError, CoppiceError, Semaphore } from '@coppice/service-kit';
import type { BranchId } from '@coppice/vocabulary';
import { endComputesOf } from '../branches/end-computes';
import { removeSubtree, type Removed } from '../branches/remove-subtree';
import { expiryVerdict } from '../branches/time-to-live';
import { REAPER, type ReapServices, swept } from './swept-item';

const AT_ONCE = 4;
/** Branches that go with one whose time is over, at most: nobody can take it apart while it waits. */
const MAX_SUBTREE = 100_000;
/** How long a branch is left alone that may not end, because one that would go with it is protected, milliseconds. */
const REFUSED_FOR_MS = 600_000;

export async function endExpiredBranches(s: ReapServices, limit: number, now: Date): Promise<SweptItem[]> {
  const permits = new Semaphore(AT_ONCE);
  const due = await findDue(s.db, 'expired-branch', now, limit);
  return Promise.all(due.map((item) => permits.run(() => endOne(s, item, now))));
}

async function endOne(s: ReapServices, item: DueItem, now: Date): Promise<SweptItem> {
  try {
    const removed = await s.db.transaction().execute((tx) => endWhenUnused(tx, s, item, now));
    if (!removed) return swept('expired-branch', item);
    await endComputesOf(s, removed.ids);
    return swept('expired-branch', item, { done: true });
  } catch (error) {
    const { message, kind } = asCoppiceError(error);
    if (kind === 'Conflict') await putOff(s, item, now);
    else s.log.warn({ err: error, branchId: item.id }, 'expired branch is not ended');
    return swept('expired-branch', item, { failure: message });
  }
}

/** `undefined` when the branch is not due any more, or was put off. */
async function endWhenUnused(
  tx: Db,
  s: ReapServices,
  item: DueItem,
  now: Date,
): Promise<Removed | undefined> {
  const projectId = item.projectId!;
  const id = item.id as BranchId;
  await lockProjectTree(tx, projectId);
  const [row] = await lockBranches(tx, [id]);
  if (!row) return undefined;
  const going = row.ttl_subtree ? await lockSubtree(tx, { projectId, id }, MAX_SUBTREE) : [row];
  if (!going)
    throw new CoppiceError(
      'Conflict',
      'subtree-too-large',
      `more than ${MAX_SUBTREE} branches would end with branch ${id}`,
      { remedy: 'Delete some of them.' },
    );
  // Whoever uses any of what would go uses the branch.
  const lastUse = row.ttl_kind === 'idle' ? await lockLastUse(tx, idsOf(going)) : 0;
  const verdict = expiryVerdict(row, lastUse, now.getTime());
  if (verdict.kind === 'later') await postponeExpiry(tx, row, verdict.at);
  if (verdict.kind !== 'ends') return undefined;
  return removeSubtree(tx, {
    projectId,
    id,
    children: row.ttl_subtree ? 'delete' : 'keep',
    defaultBranch: true,
    limit: MAX_SUBTREE,
    deletion: {
      id: s.identifiers.deletion(),
      method: 'ttl',
      recoverableUntil: new Date(now.getTime() + s.recoveryWindowMs),
      now,
    },
    actor: REAPER,
    action: 'expire-branch',
  });
}

async function putOff(s: ReapServices, item: DueItem, now: Date): Promise<void> {
  const row = await findBranch(s.db, item.projectId!, item.id as BranchId);
  // Renewed since: its new time stands.
  if (!row || expiryVerdict(row, 0, now.getTime()).kind === 'not-due') return;
  await postponeExpiry(s.db, row, new Date(now.getTime() + REFUSED_FOR_MS));
}

function idsOf(rows: readonly BranchRow[]): BranchId[] {
  return rows.map((r) => r.id);
}
