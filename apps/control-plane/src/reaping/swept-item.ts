import type { CatalogTables, DueItem, DueKind } from '@coppice/catalog';
import type { SweptItem } from '@coppice/contracts';
import type { Clock, Log } from '@coppice/service-kit';
import type { Kysely } from 'kysely';
import type { SuspendCompute } from '../computes/suspend-compute';
import type { Identifiers } from '../naming/identifiers';
import type { Peers } from '../peers';

export interface ReapServices {
  readonly db: Kysely<CatalogTables>;
  readonly peers: Peers;
  readonly suspend: SuspendCompute;
  readonly identifiers: Identifiers;
  readonly clock: Clock;
  readonly log: Log;
  /** How long what ends by itself can be recovered, milliseconds. */
  readonly recoveryWindowMs: number;
}

/** The agent in the audit log. */
export const REAPER = { agentId: 'reaper', taskId: undefined } as const;

/** What a kind of thing is due for, in the words of a list. */
export const WHY: Readonly<Record<DueKind, string>> = {
  'expired-branch': 'its time to live is over',
  'deleted-branch': 'deleted, and its recovery window is over',
  'deleted-project': 'deleted, and its recovery window is over',
  'deleted-timeline': 'something that needed it is gone; it goes when nothing else does',
  'expired-credential': 'expired',
  'expired-checkpoint': 'expired',
};

/** One line of a sweep's answer. */
export function swept(
  kind: DueKind,
  item: DueItem,
  over: { readonly done?: boolean; readonly failure?: string; readonly why?: string } = {},
): SweptItem {
  return {
    id: item.id,
    projectId: item.projectId ?? '',
    branchId: item.branchId ?? '',
    dueUnixMs: item.dueAt,
    why: WHY[kind],
    done: false,
    failure: '',
    ...over,
  };
}
