/**
 * Putting a branch in place on another timeline, which starts at the position it is restored to. Branch, endpoints and
 * credentials stay; nothing is copied, so it costs the same at any size and depth.
 *
 *   before   branch ─► old timeline                after   branch ─► new timeline ─► (ancestor, lsn)
 *                                                          a checkpoint, or a branch that is made for it, ─► old timeline
 *
 * Rows are taken in the order project, branch, computes, timelines. Who claims or completes a start takes the branch's row
 * first (see computes.ts): it comes before the restore and its compute is ended, or after it and starts on the new timeline.
 */
import { sql } from 'kysely';
import { type BranchId, formatLsn, type Lsn, type ProjectId, type TimelineId } from '@coppice/vocabulary';
import type { BranchRow } from './branches';
import { dropOldestAutomatic, insertCheckpoint } from './checkpoints';
import type { Db } from './database';
import { lockProjectTree } from './deletion';
import { opens } from './logins';

/** Automatic checkpoints that a branch keeps at most. */
const MAX_AUTOMATIC = 1_000;
/** Automatic checkpoints are bounded by dropping the oldest, not by refusing the newest. */
const UNBOUNDED = 2 ** 31 - 1;
/** `setup_done_lsn` of a timeline on which the set-up never took effect before its branch left it. */
const SETUP_NEVER_DONE = 'FFFFFFFF/FFFFFFFF';

/** Names of roles and databases. */
export interface LoginNames {
  readonly roles: readonly string[];
  readonly databases: readonly { readonly name: string; readonly ownerName: string }[];
}

export interface Restore {
  readonly projectId: ProjectId;
  readonly branchId: BranchId;
  /** The timeline that the plan was made with. */
  readonly from: TimelineId;
  /** The new one. */
  readonly to: { readonly id: TimelineId; readonly ancestorId: TimelineId; readonly ancestorLsn: Lsn };
  readonly beforeSetup: boolean;
  /** Branch or snapshot, as shown to users. */
  readonly restoredFrom: string;
  /** The branch to descend from henceforth; absent: as before. */
  readonly newParent: { readonly id: BranchId; readonly timestamp: Date | undefined } | undefined;
  /** The new parent is the one it had when the plan was made; starts an absolute time to live anew. */
  readonly isReset: boolean;
  /** What becomes of the state before. */
  readonly before:
    | { readonly kind: 'preserve'; readonly id: BranchId; readonly name: string }
    | {
        readonly kind: 'checkpoint';
        readonly id: string;
        readonly name: string;
        readonly lsn: Lsn;
        readonly expiresAt: Date;
      };
  /** Whose roles and databases the branch gets, if not its own: those of a branch, or as they were recorded. */
  readonly logins: { readonly branchId: BranchId } | LoginNames | undefined;
  readonly actor: { readonly agentId: string; readonly taskId: string | undefined };
  readonly now: Date;
}

export type RestoreVerdict =
  | { readonly kind: 'restored'; readonly branch: BranchRow; readonly preserved: BranchRow | undefined }
  /** The branch is gone; it is protected; it was put on another timeline; the position is not kept any more. */
  | { readonly kind: 'missing' | 'protected' | 'changed' | 'history-gone' };

/**
 * In a transaction, which has to be rolled back unless the verdict is `restored`. The branch's live computes are left `stopping`,
 * for the caller to end.
 */
export async function restoreBranch(tx: Db, r: Restore): Promise<RestoreVerdict> {
  if (r.before.kind === 'preserve' || (r.newParent && !r.isReset)) await lockProjectTree(tx, r.projectId);
  const branch = await tx
    .selectFrom('branches')
    .selectAll()
    .where('id', '=', r.branchId)
    .where('project_id', '=', r.projectId)
    .where('deleted_at', 'is', null)
    .forUpdate()
    .executeTakeFirst();
  if (!branch) return { kind: 'missing' };
  if (branch.is_protected) return { kind: 'protected' };
  if (branch.timeline_id !== r.from || (r.isReset && branch.parent_id !== r.newParent?.id))
    return { kind: 'changed' };
  const parent = await parentAfter(tx, r, branch);
  await endComputes(tx, branch);
  if (!(await insertTimeline(tx, r))) return { kind: 'history-gone' };
  const preserved = await keepStateBefore(tx, r, branch);
  if (r.logins) await takeLogins(tx, r.branchId, r.logins, r.now);
  const restored = await tx
    .updateTable('branches')
    .set({
      timeline_id: r.to.id,
      parent_id: parent.id,
      parent_lsn: parent.lsn === null ? null : formatLsn(parent.lsn),
      parent_timestamp: parent.timestamp === null ? null : new Date(parent.timestamp),
      setup_pending: r.beforeSetup,
      logins_pending: true,
      restored_from: r.restoredFrom,
      restored_as: preserved?.id ?? null,
      last_reset_at: r.now,
      updated_at: r.now,
      expires_at: sql`case when ttl_kind = 'idle' or (ttl_kind = 'absolute' and ${r.isReset}::boolean)
        then ${r.now}::timestamptz + ttl_seconds * interval '1 second' else expires_at end`,
    })
    .where('id', '=', r.branchId)
    .returningAll()
    .executeTakeFirstOrThrow();
  return { kind: 'restored', branch: restored, preserved };
}

interface Parentage {
  readonly id: BranchId | null;
  readonly lsn: Lsn | null;
  readonly timestamp: number | null;
}

/** A branch that would come to descend from itself keeps its parent; the state it has is from elsewhere then. */
async function parentAfter(tx: Db, r: Restore, branch: BranchRow): Promise<Parentage> {
  const lsn = r.to.ancestorLsn;
  const before = branch.parent_lsn;
  const asBefore = {
    id: branch.parent_id,
    lsn: before !== null && lsn < before ? lsn : before,
    timestamp: branch.parent_timestamp,
  };
  if (!r.newParent) return asBefore;
  // With the state before preserved, the children go with that, and nothing descends from the branch any more.
  if (!r.isReset && r.before.kind !== 'preserve' && (await descendsFrom(tx, r.newParent.id, branch.id)))
    return asBefore;
  return { id: r.newParent.id, lsn, timestamp: r.newParent.timestamp?.getTime() ?? null };
}

async function descendsFrom(tx: Db, id: BranchId, ancestor: BranchId): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`
    with recursive up as (
      select id, parent_id from branches where id = ${id}
      union
      select b.id, b.parent_id from up join branches b on b.id = up.parent_id where up.id <> ${ancestor}
    ) select exists (select from up where id = ${ancestor}) as found`.execute(tx);
  return rows[0]?.found ?? false;
}

async function endComputes(tx: Db, branch: BranchRow): Promise<void> {
  const ended = await sql`
    update computes set state = 'stopping', idle_due_at = null
    where endpoint_id in (select id from endpoints where branch_id = ${branch.id}) and state in ('starting', 'running')`.execute(
    tx,
  );
  // One that was starting may have written since the head was recorded.
  const wrote = ended.numAffectedRows !== 0n;
  await sql`
    update timelines set head_lsn = case when ${wrote}::boolean then null else head_lsn end,
      setup_done_lsn = coalesce(setup_done_lsn, case when ${branch.setup_pending}::boolean then ${SETUP_NEVER_DONE}::pg_lsn end)
    where id = ${branch.timeline_id} and (${wrote}::boolean or ${branch.setup_pending}::boolean)`.execute(tx);
}

async function insertTimeline(tx: Db, { projectId, to, now }: Restore): Promise<boolean> {
  const lsn = formatLsn(to.ancestorLsn);
  const made = await sql`
    with ancestor as (
      select id, depth, pg_version, system_identifier from timelines
      where id = ${to.ancestorId} and (retained_from is null or retained_from <= ${lsn}::pg_lsn) for share
    )
    insert into timelines (id, project_id, ancestor_id, ancestor_lsn, depth, pg_version, system_identifier, head_lsn, created_at)
    select ${to.id}, ${projectId}, a.id, ${lsn}::pg_lsn, a.depth + 1, a.pg_version, a.system_identifier, ${lsn}::pg_lsn, ${now}::timestamptz
    from ancestor a`.execute(tx);
  return made.numAffectedRows === 1n;
}

/** Answers with the branch that was made for it, if one was asked for. */
async function keepStateBefore(tx: Db, r: Restore, branch: BranchRow): Promise<BranchRow | undefined> {
  if (r.before.kind === 'checkpoint') {
    await insertCheckpoint(
      tx,
      {
        ...r.before,
        kind: 'automatic',
        projectId: r.projectId,
        branchId: r.branchId,
        timelineId: branch.timeline_id,
        beforeSetup: branch.setup_pending,
        atTimestamp: undefined,
        taskId: r.actor.taskId,
        now: r.now,
      },
      UNBOUNDED,
    );
    await dropOldestAutomatic(tx, r.branchId, MAX_AUTOMATIC, r.now);
    return undefined;
  }
  const { id } = r.before;
  const preserved = await tx
    .insertInto('branches')
    .values({
      id,
      project_id: r.projectId,
      name: r.before.name,
      parent_id: branch.parent_id,
      parent_lsn: branch.parent_lsn === null ? null : formatLsn(branch.parent_lsn),
      parent_timestamp: branch.parent_timestamp === null ? null : new Date(branch.parent_timestamp),
      timeline_id: branch.timeline_id,
      is_default: false,
      is_protected: false,
      setup_pending: branch.setup_pending,
      logins_pending: branch.logins_pending,
      restored_from: branch.restored_from,
      task_id: r.actor.taskId ?? null,
      created_by: r.actor.agentId,
      annotations: JSON.stringify(branch.annotations),
      created_at: r.now,
      updated_at: r.now,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  await takeLogins(tx, id, { branchId: branch.id }, r.now);
  await sql`update branches set parent_id = ${id} where parent_id = ${branch.id}`.execute(tx);
  return preserved;
}

/**
 * The branch gets the databases and, besides its own, the roles of another branch or of a record. Roles that are new to it and
 * can be connected as there get credentials of their own.
 */
async function takeLogins(
  tx: Db,
  branchId: BranchId,
  from: NonNullable<Restore['logins']>,
  now: Date,
): Promise<void> {
  const roles =
    'branchId' in from
      ? sql`select name, is_protected, ${opens(sql`roles.branch_id`, sql`roles.name`)} from roles where branch_id = ${from.branchId}`
      : sql`select name, false, true from unnest(${from.roles}::text[]) as given(name)`;
  const databases =
    'branchId' in from
      ? sql`select name, owner_name from databases where branch_id = ${from.branchId}`
      : sql`select name, "ownerName" from jsonb_to_recordset(${JSON.stringify(from.databases)}::jsonb) as given(name text, "ownerName" text)`;
  await sql`
    with given as (select * from (${roles}) as r(name, is_protected, opens)), added as (
      insert into roles (branch_id, name, is_protected, created_at, updated_at)
      select ${branchId}, r.name, r.is_protected, ${now}::timestamptz, ${now}::timestamptz from given r
      on conflict (branch_id, name) do nothing returning name
    )
    insert into credentials (id, branch_id, role_name, version, created_at)
    select gen_random_uuid(), ${branchId}, a.name, 1 + coalesce((
      select max(version) from credentials c where c.branch_id = ${branchId} and c.role_name = a.name and c.kind = 'role'), 0), ${now}::timestamptz
    from added a join given g on g.name = a.name where g.opens`.execute(tx);
  await sql`
    with given as (select * from (${databases}) as d(name, owner_name)), gone as (
      delete from databases where branch_id = ${branchId} and name not in (select name from given)
    )
    insert into databases (branch_id, name, owner_name, created_at, updated_at)
    select ${branchId}, name, owner_name, ${now}::timestamptz, ${now}::timestamptz from given
    on conflict (branch_id, name) do update set owner_name = excluded.owner_name, updated_at = excluded.updated_at
    where databases.owner_name <> excluded.owner_name`.execute(tx);
}

/** Notes on a branch just made what it was restored from, and the branch it is meant to replace. */
export async function markRestored(
  tx: Db,
  id: BranchId,
  r: {
    readonly restoredFrom: string;
    readonly restoreTarget: BranchId | undefined;
    readonly restoreStatus: 'restored' | undefined;
  },
): Promise<void> {
  await tx
    .updateTable('branches')
    .set({
      restored_from: r.restoredFrom,
      restore_target: r.restoreTarget ?? null,
      restore_status: r.restoreStatus ?? null,
    })
    .where('id', '=', id)
    .execute();
}

/** A restored branch whose target got its state waits for nothing any more. */
export async function settleRestore(tx: Db, id: BranchId): Promise<void> {
  await tx
    .updateTable('branches')
    .set({ restore_target: null, restore_status: null })
    .where('id', '=', id)
    .execute();
}
