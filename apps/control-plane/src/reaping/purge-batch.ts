/** Removes a batch of metadata that is past its time, with the record of it, in one transaction. */
import {
  auditBranches,
  type Db,
  type DueItem,
  type DueKind,
  expireCheckpoints,
  expireCredentials,
  purgeBranches,
  purgeProjects,
  recordAudits,
} from '@coppice/catalog';
import type { SweptItem } from '@coppice/contracts';
import { REAPER, type ReapServices, swept } from './swept-item';

export type BatchKind = Exclude<DueKind, 'expired-branch' | 'deleted-timeline'>;
/** Rows of one transaction: locks are held for milliseconds only. */
const BATCH = 200;

export async function purgeBatch(
  s: ReapServices,
  kind: BatchKind,
  limit: number,
  now: Date,
): Promise<SweptItem[]> {
  const gone: SweptItem[] = [];
  while (gone.length < limit) {
    const size = Math.min(BATCH, limit - gone.length);
    const items = await s.db.transaction().execute((tx) => BATCHES[kind](tx, now, size));
    gone.push(...items.map((item) => swept(kind, { dueAt: now.getTime(), ...item }, { done: true })));
    if (items.length < size) break;
  }
  return gone;
}

type Gone = Omit<DueItem, 'dueAt'>;

const BATCHES: Readonly<Record<BatchKind, (tx: Db, now: Date, limit: number) => Promise<Gone[]>>> = {
  'deleted-branch': async (tx, now, limit) => {
    const gone = await purgeBranches(tx, now, limit);
    for (const [projectId, branchIds] of grouped(gone))
      await auditBranches(tx, { ...REAPER, action: 'purge-branch', projectId, branchIds, now });
    return gone.map((b) => ({ id: b.id, projectId: b.projectId, branchId: b.id }));
  },
  'deleted-project': async (tx, now, limit) => {
    const gone = await purgeProjects(tx, now, limit);
    await recordAudits(
      tx,
      gone.map((projectId) => ({ ...REAPER, action: 'purge-project', projectId, now })),
    );
    return gone.map((id) => ({ id, projectId: id, branchId: undefined }));
  },
  'expired-credential': async (tx, now, limit) => {
    const gone = await expireCredentials(tx, now, limit);
    await recordAudits(
      tx,
      gone.map(({ id, branchId, projectId }) => ({
        ...REAPER,
        action: 'expire-credential',
        projectId,
        branchId,
        detail: { credential: id },
        now,
      })),
    );
    return gone;
  },
  'expired-checkpoint': async (tx, now, limit) => {
    const gone = await expireCheckpoints(tx, now, limit);
    await recordAudits(
      tx,
      gone.map(({ id, kind, projectId, branchId }) => ({
        ...REAPER,
        action: kind === 'snapshot' ? 'expire-snapshot' : 'expire-checkpoint',
        projectId,
        ...(branchId === undefined ? {} : { branchId }),
        detail: { [kind === 'snapshot' ? 'snapshot' : 'checkpoint']: id },
        now,
      })),
    );
    return gone.map(({ id, projectId, branchId }) => ({ id, projectId, branchId }));
  },
};

function grouped<P, I>(rows: readonly { readonly projectId: P; readonly id: I }[]): Map<P, I[]> {
  const groups = new Map<P, I[]>();
  for (const { projectId, id } of rows) groups.set(projectId, [...(groups.get(projectId) ?? []), id]);
  return groups;
}
