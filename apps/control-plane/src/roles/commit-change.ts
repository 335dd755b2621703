/** The end of each change of a branch's roles and databases: one transaction for the metadata and the records of it. */
import {
  type CatalogTables,
  type Db,
  holdBranch,
  type IdempotencyEntry,
  insertIdempotent,
  recordAudit,
  recordOperations,
} from '@coppice/catalog';
import type { OperationModel } from '@coppice/contracts';
import type { Clock } from '@coppice/service-kit';
import type { EndpointId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { branchNotFound, type Caller } from '../access/authorize';
import type { BranchOf } from '../computes/branch-sql';
import { operationModel } from '../models';
import type { Identifiers } from '../naming/identifiers';
import { finishedOperation } from '../operations/finished-operation';

export interface CommitServices {
  readonly db: Kysely<CatalogTables>;
  readonly identifiers: Identifiers;
  readonly clock: Clock;
}

export interface Change<T, A> {
  readonly caller: Caller;
  readonly at: BranchOf;
  /** On whose compute the SQL ran; absent when none had to. */
  readonly endpoint: EndpointId | undefined;
  readonly action: string;
  readonly detail: unknown;
  /** Unix milliseconds. */
  readonly beganAt: number;
  readonly run: (tx: Db, now: Date) => Promise<T>;
  readonly answer: (changed: T, operations: OperationModel[]) => A;
  readonly entry?: ((answer: A) => IdempotencyEntry) | undefined;
}

/** Throws when the branch is deleted meanwhile. */
export async function commitChange<T, A>(s: CommitServices, c: Change<T, A>): Promise<A> {
  const { db, clock, identifiers } = s;
  const { project, branchId } = c.at;
  const now = clock.now();
  const operation = finishedOperation({
    id: identifiers.operation(),
    action: 'apply_config',
    projectId: project.id,
    branchId,
    ...(c.endpoint === undefined ? {} : { endpointId: c.endpoint }),
    beganAt: c.beganAt,
    endedAt: now,
  });
  return db.transaction().execute(async (tx) => {
    if (!(await holdBranch(tx, branchId))) throw branchNotFound(branchId);
    const changed = await c.run(tx, new Date(now));
    await recordOperations(tx, [operation]);
    await recordAudit(tx, {
      ...c.caller.audit,
      action: c.action,
      projectId: project.id,
      branchId,
      ...(c.endpoint === undefined ? {} : { endpointId: c.endpoint }),
      detail: c.detail,
      now: new Date(now),
    });
    const answer = c.answer(changed, [operationModel(operation)]);
    if (c.entry) await insertIdempotent(tx, c.caller.agentId, c.entry(answer), new Date(now));
    return answer;
  });
}
