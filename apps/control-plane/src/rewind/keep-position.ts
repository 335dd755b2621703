/** Makes checkpoints and snapshots: finds the position that is asked for and keeps it. */
import {
  type CatalogTables,
  type CheckpointRow,
  checkpointsFull,
  findForkSource,
  insertCheckpoint,
  insertIdempotent,
  type IdempotencyEntry,
  type OperationRow,
  type ProjectRow,
  recordAudit,
  recordOperations,
} from '@coppice/catalog';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import { formatLsn, type Lsn, parseBranchId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { branchNotFound, type Caller, checkScope } from '../access/authorize';
import type { FindForkPoint } from '../forks/find-fork-point';
import { forkRequest, requestedTime } from '../forks/fork-request';
import { checkExpiry } from './expiry';

/** Checkpoints of one branch, and snapshots of one project. */
export const MAX_CHECKPOINTS = 10_000;

export interface KeepServices {
  readonly db: Kysely<CatalogTables>;
  readonly forkPoint: FindForkPoint;
  readonly clock: Clock;
}

export interface Keep {
  readonly kind: 'checkpoint' | 'snapshot';
  readonly id: string;
  readonly name: string;
  readonly project: ProjectRow;
  readonly branchId: string;
  readonly lsn?: Lsn | undefined;
  readonly timestampUnixMicros: number;
  readonly expiresUnixMs: number;
  readonly operations: readonly OperationRow[];
  readonly idempotency: ((row: CheckpointRow) => IdempotencyEntry) | undefined;
}

export async function keepPosition(
  { db, forkPoint, clock }: KeepServices,
  caller: Caller,
  k: Keep,
): Promise<CheckpointRow> {
  checkScope(caller, k.project.id, k.branchId);
  const branchId = parseBranchId(k.branchId);
  if (!branchId) throw branchNotFound(k.branchId);
  const at = forkRequest(
    { lsn: k.lsn, unixMicros: k.timestampUnixMicros },
    { lsn: 'lsn', time: 'timestamp' },
  );
  const expiresAt = checkExpiry(k.expiresUnixMs, clock.now());
  const source = await findForkSource(db, k.project.id, branchId, caller.agentFilter);
  if (!source?.branch) throw branchNotFound(branchId);
  const point = await forkPoint.find(source, source.branch, at, caller.signal);
  const now = new Date(clock.now());
  const made = {
    kind: k.kind,
    id: k.id,
    name: k.name,
    projectId: k.project.id,
    branchId,
    ...point,
    atTimestamp: requestedTime(at),
    taskId: caller.taskId,
    expiresAt,
    now,
  };
  return db.transaction().execute(async (tx) => {
    const row = await insertCheckpoint(tx, made, MAX_CHECKPOINTS);
    if (!row) {
      if (await checkpointsFull(tx, made, MAX_CHECKPOINTS)) throw tooMany(k);
      throw new CoppiceError(
        'Conflict',
        'branch-changed',
        `branch ${branchId} was deleted, or no longer keeps LSN ${formatLsn(point.lsn)}`,
        { remedy: 'List the branches and try again.' },
      );
    }
    await recordOperations(tx, k.operations);
    await recordAudit(tx, {
      ...caller.audit,
      action: `create-${k.kind}`,
      projectId: k.project.id,
      branchId,
      detail: { [k.kind]: row.id, name: row.name, lsn: formatLsn(row.lsn) },
      now,
    });
    const entry = k.idempotency?.(row);
    if (entry) await insertIdempotent(tx, caller.agentId, entry, now);
    return row;
  });
}

function tooMany(k: Keep): CoppiceError {
  return k.kind === 'snapshot'
    ? new CoppiceError(
        'QuotaExceeded',
        'too-many-snapshots',
        `project ${k.project.id} has ${MAX_CHECKPOINTS} snapshots, as many as it may have`,
        { remedy: 'Delete some, or give them an expiry.' },
      )
    : new CoppiceError(
        'QuotaExceeded',
        'too-many-checkpoints',
        `branch ${k.branchId} has ${MAX_CHECKPOINTS} checkpoints, as many as it may have`,
        { remedy: 'Delete some, or give them an expiry.' },
      );
}
