/**
 * What the metadata knows of a branch's roles and databases, changed after Postgres has changed them: Postgres is the truth. A
 * row that is older than a look at Postgres which does not find the thing is stale.
 */
import { sql } from 'kysely';
import type { BranchId } from '@coppice/vocabulary';
import type { Db } from './database';
import type { DatabaseRow } from './logins';
import type { RolesTable } from './schema';
import type { Selectable } from 'kysely';

/** A role with the version of the password that opens it; null when it has none. */
export type ChangedRole = Selectable<RolesTable> & { readonly version: number | null };

/** Holds a branch until the transaction ends, so that it is not deleted meanwhile; false when it is. */
export async function holdBranch(tx: Db, id: BranchId): Promise<boolean> {
  const { rows } = await sql`select from branches where id = ${id} and deleted_at is null for share`.execute(
    tx,
  );
  return rows.length === 1;
}

export interface NewRole {
  readonly branchId: BranchId;
  readonly name: string;
  readonly withPassword: boolean;
  /** A row of this name that was last changed before is that of a role which is gone. */
  readonly staleBefore: Date | undefined;
  readonly now: Date;
}

/** `undefined` when the branch has such a role. */
export async function insertRole(tx: Db, r: NewRole): Promise<ChangedRole | undefined> {
  const { branchId, name, staleBefore } = r;
  if (staleBefore) await deleteRole(tx, { branchId, name, unchangedSince: staleBefore }, r.now);
  const row = await tx
    .insertInto('roles')
    .values({
      branch_id: r.branchId,
      name: r.name,
      is_protected: false,
      created_at: r.now,
      updated_at: r.now,
    })
    .onConflict((c) => c.doNothing())
    .returningAll()
    .executeTakeFirst();
  if (!row) return undefined;
  await revokeOf(tx, r.branchId, r.name, r.now);
  return { ...row, version: r.withPassword ? await insertPassword(tx, r.branchId, r.name, r.now) : null };
}

/** Gives a role another password; the ones before open nothing any more. `undefined` when there is no such role. */
export async function resetRole(
  tx: Db,
  branchId: BranchId,
  name: string,
  now: Date,
): Promise<ChangedRole | undefined> {
  const row = await tx
    .updateTable('roles')
    .set({ updated_at: now })
    .where('branch_id', '=', branchId)
    .where('name', '=', name)
    .returningAll()
    .executeTakeFirst();
  if (!row) return undefined;
  await tx
    .updateTable('credentials')
    .set({ revoked_at: now })
    .where('branch_id', '=', branchId)
    .where('role_name', '=', name)
    .where('kind', '=', 'role')
    .where('revoked_at', 'is', null)
    .execute();
  return { ...row, version: await insertPassword(tx, branchId, name, now) };
}

/**
 * Forgets a role, with `unchangedSince` only one that was last changed before; credentials that connect as it open nothing any
 * more. False when there is none.
 */
export async function deleteRole(
  tx: Db,
  of: { readonly branchId: BranchId; readonly name: string; readonly unchangedSince?: Date },
  now: Date,
): Promise<boolean> {
  const { rows } = await sql`
    delete from roles where branch_id = ${of.branchId} and name = ${of.name}
      and (${of.unchangedSince ?? null}::timestamptz is null or updated_at < ${of.unchangedSince ?? null}::timestamptz) returning name`.execute(
    tx,
  );
  if (rows.length === 1 || !of.unchangedSince) await revokeOf(tx, of.branchId, of.name, now);
  return rows.length === 1;
}

async function revokeOf(tx: Db, branchId: BranchId, roleName: string, now: Date): Promise<void> {
  await tx
    .updateTable('credentials')
    .set({ revoked_at: now })
    .where('branch_id', '=', branchId)
    .where('role_name', '=', roleName)
    .where('revoked_at', 'is', null)
    .execute();
}

/** Versions only grow, also over a role that was dropped and made again: no password comes back. */
async function insertPassword(tx: Db, branchId: BranchId, roleName: string, now: Date): Promise<number> {
  const { rows } = await sql<{ version: number }>`
    insert into credentials (id, branch_id, role_name, version, created_at)
    select gen_random_uuid(), ${branchId}, ${roleName}, coalesce(max(version), 0) + 1, ${now}::timestamptz
    from credentials where branch_id = ${branchId} and role_name = ${roleName} and kind = 'role' returning version`.execute(
    tx,
  );
  return rows[0]!.version;
}

export interface NewDatabase {
  readonly branchId: BranchId;
  readonly name: string;
  readonly ownerName: string;
  /** As of `NewRole`. */
  readonly staleBefore: Date | undefined;
  readonly now: Date;
}

/** `undefined` when the branch has such a database. */
export async function insertDatabase(tx: Db, d: NewDatabase): Promise<DatabaseRow | undefined> {
  const { branchId, name, staleBefore } = d;
  if (staleBefore) await deleteDatabase(tx, { branchId, name, unchangedSince: staleBefore });
  return tx
    .insertInto('databases')
    .values({
      branch_id: d.branchId,
      name: d.name,
      owner_name: d.ownerName,
      created_at: d.now,
      updated_at: d.now,
    })
    .onConflict((c) => c.doNothing())
    .returningAll()
    .executeTakeFirst();
}

/** What a database is called and whose it is; a row that has the new name is stale. `undefined` when there is none. */
export async function updateDatabase(
  tx: Db,
  of: { readonly branchId: BranchId; readonly name: string },
  to: { readonly name: string; readonly ownerName: string },
  now: Date,
): Promise<DatabaseRow | undefined> {
  if (to.name !== of.name) await deleteDatabase(tx, { branchId: of.branchId, name: to.name });
  return tx
    .updateTable('databases')
    .set({ name: to.name, owner_name: to.ownerName, updated_at: now })
    .where('branch_id', '=', of.branchId)
    .where('name', '=', of.name)
    .returningAll()
    .executeTakeFirst();
}

/** Forgets a database, with `unchangedSince` only one that was last changed before. False when there is none. */
export async function deleteDatabase(
  tx: Db,
  of: { readonly branchId: BranchId; readonly name: string; readonly unchangedSince?: Date },
): Promise<boolean> {
  const { rows } = await sql`
    delete from databases where branch_id = ${of.branchId} and name = ${of.name}
      and (${of.unchangedSince ?? null}::timestamptz is null or updated_at < ${of.unchangedSince ?? null}::timestamptz) returning name`.execute(
    tx,
  );
  return rows.length === 1;
}
