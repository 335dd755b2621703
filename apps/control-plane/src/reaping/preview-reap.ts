import { type Db, DUE_KINDS, findDue, findIdleComputes } from '@coppice/catalog';
import type { ReapPreview } from '@coppice/contracts';
import type { Clock } from '@coppice/service-kit';
import { type Caller, checkOperator } from '../access/authorize';
import { pageSize } from '../naming/page-size';
import { WHY } from './swept-item';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;

/** What the reaper would end now and why, longest overdue first; nothing is changed. */
export async function previewReap(
  s: { readonly db: Db; readonly clock: Clock },
  caller: Caller,
  request: { readonly limit: number },
): Promise<ReapPreview> {
  checkOperator(caller, 'look at what is reaped');
  const limit = pageSize(request.limit, DEFAULT_LIMIT, MAX_LIMIT);
  const now = new Date(s.clock.now());
  const candidates = (await findIdleComputes(s.db, now, limit)).map((c) => ({
    kind: 'idle-compute',
    id: c.id as string,
    projectId: c.project_id as string,
    branchId: c.branch_id as string,
    dueUnixMs: c.idle_due_at ?? 0,
    why: 'not used for as long as its endpoint allows',
  }));
  for (const kind of DUE_KINDS)
    for (const item of await findDue(s.db, kind, now, limit))
      candidates.push({
        kind,
        id: item.id,
        projectId: item.projectId ?? '',
        branchId: item.branchId ?? '',
        dueUnixMs: item.dueAt,
        why: WHY[kind],
      });
  return { candidates: candidates.sort((a, b) => a.dueUnixMs - b.dueUnixMs).slice(0, limit) };
}
