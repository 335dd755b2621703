/** Databases of a branch. As with roles, Postgres is changed first, and what dies between is taken over by the next. */
import {
  type DatabaseRow,
  type Db,
  deleteDatabase,
  insertDatabase,
  insertRole,
  updateDatabase,
} from '@coppice/catalog';
import type {
  BranchRef,
  CallContext,
  CreateDatabaseRequest,
  DatabaseChanged,
  DatabaseList,
  DatabaseModel,
  DatabaseRef,
  UpdateDatabaseRequest,
} from '@coppice/contracts';
import { CoppiceError, failpoint } from '@coppice/service-kit';
import type { BranchId, EndpointId } from '@coppice/vocabulary';
import type { Caller } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import type { BranchOf, BranchSql } from '../computes/branch-sql';
import { databaseModel } from '../models';
import { checkDatabaseName, checkRoleName } from '../naming/limits';
import type { Adopt } from './adopt';
import { commitChange, type CommitServices } from './commit-change';
import { changeOwner, createDatabase, dropDatabase, LIST_DATABASES, renameDatabase } from './object-sql';
import { roleNotFound } from './roles';
import { SQLSTATE, sqlstateOf, unlessRefused } from './sql-state';

/** Renamings that clients' new sessions get in the way of are tried so often. */
const RENAME_ATTEMPTS = 3;

export interface DatabaseServices extends CommitServices {
  readonly branchSql: BranchSql;
  readonly adopt: Adopt;
}

export class Databases {
  readonly #s: DatabaseServices;

  constructor(services: DatabaseServices) {
    this.#s = services;
  }

  async create(
    caller: Caller,
    request: CreateDatabaseRequest,
    context: CallContext,
  ): Promise<DatabaseChanged> {
    const at = await this.#s.branchSql.find(caller, request);
    const name = checkDatabaseName(request.databaseName);
    const ownerName = checkRoleName(request.ownerName);
    return idempotently<DatabaseChanged>(this.#s.db, caller, context, {
      method: 'create-database',
      request,
      run: async (entry) => {
        const beganAt = this.#s.clock.now();
        const endpoint = await this.#s.branchSql.endpoint(at);
        const made = await this.#make(at, endpoint, { name, ownerName }, caller.signal);
        failpoint('database-made-in-postgres');
        return commitChange<DatabaseRow, DatabaseChanged>(this.#s, {
          caller,
          at,
          endpoint,
          action: 'create-database',
          detail: { database: name, owner: ownerName },
          beganAt,
          run: async (tx, now) => {
            const staleBefore = made ? new Date(beganAt) : undefined;
            await knowOwner(tx, at.branchId, ownerName, now);
            const row = await insertDatabase(tx, {
              branchId: at.branchId,
              name,
              ownerName,
              staleBefore,
              now,
            });
            if (!row) throw databaseExists(name, at.branchId);
            return row;
          },
          answer,
          entry,
        });
      },
      reveal: async (kept) => kept,
    });
  }

  /** False when Postgres has the database already: made by SQL, or by a request that did not come to its end. */
  async #make(
    at: BranchOf,
    endpoint: EndpointId,
    { name, ownerName }: { readonly name: string; readonly ownerName: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    const statements = [createDatabase(name, ownerName)];
    const create = this.#s.branchSql.run(endpoint, { statements, separate: true }, signal);
    if (await unlessRefused(withOwner(create, ownerName, at.branchId), SQLSTATE.duplicateDatabase))
      return true;
    const { databases } = await this.#s.adopt.metadata(at.branchId);
    if (databases.some((d) => d.name === name)) throw databaseExists(name, at.branchId);
    const adopt = this.#s.branchSql.run(endpoint, { statements: [changeOwner(name, ownerName)] }, signal);
    await withOwner(adopt, ownerName, at.branchId);
    return false;
  }

  async list(caller: Caller, request: BranchRef): Promise<DatabaseList> {
    const at = await this.#s.branchSql.find(caller, request);
    const { databases } = await this.#s.adopt.known(at, caller.signal);
    return { databases: databases.map(databaseModel) };
  }

  async get(caller: Caller, request: DatabaseRef): Promise<DatabaseModel> {
    const at = await this.#s.branchSql.find(caller, request);
    return databaseModel(await this.#find(at, request.databaseName, caller.signal));
  }

  /** A renaming ends the database's sessions. */
  async update(caller: Caller, request: UpdateDatabaseRequest): Promise<DatabaseChanged> {
    const { branchSql, clock } = this.#s;
    const at = await branchSql.find(caller, request);
    const row = await this.#find(at, request.databaseName, caller.signal);
    const name = request.newName === '' ? row.name : checkDatabaseName(request.newName);
    const ownerName = request.newOwnerName === '' ? row.owner_name : checkRoleName(request.newOwnerName);
    const beganAt = clock.now();
    const endpoint = await branchSql.endpoint(at);
    // The name last: under the old name the whole request can be repeated.
    if (ownerName !== row.owner_name) {
      const own = branchSql.run(endpoint, { statements: [changeOwner(row.name, ownerName)] }, caller.signal);
      const owned = await unlessRefused(withOwner(own, ownerName, at.branchId), SQLSTATE.undefinedDatabase);
      if (!owned && name === row.name) throw databaseNotFound(row.name, at.branchId);
    }
    if (name !== row.name) await this.#rename(at, endpoint, { from: row.name, to: name }, caller.signal);
    failpoint('database-changed-in-postgres');
    return commitChange(this.#s, {
      caller,
      at,
      endpoint,
      action: 'update-database',
      detail: { database: row.name, name, owner: ownerName },
      beganAt,
      run: async (tx, now) => {
        await knowOwner(tx, at.branchId, ownerName, now);
        const changed = await updateDatabase(
          tx,
          { branchId: at.branchId, name: row.name },
          { name, ownerName },
          now,
        );
        if (!changed) throw databaseNotFound(row.name, at.branchId);
        return changed;
      },
      answer,
    });
  }

  async #rename(
    at: BranchOf,
    endpoint: EndpointId,
    { from, to }: { readonly from: string; readonly to: string },
    signal: AbortSignal,
  ): Promise<void> {
    const statements = renameDatabase(from, to);
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#s.branchSql.run(endpoint, { statements, separate: true }, signal);
        return;
      } catch (error) {
        const state = sqlstateOf(error);
        if (state === SQLSTATE.duplicateDatabase) throw databaseExists(to, at.branchId, error);
        if (state === SQLSTATE.undefinedDatabase) {
          if (await this.#wasRenamed(at, endpoint, to, signal)) return;
          throw databaseNotFound(from, at.branchId);
        }
        if (state !== SQLSTATE.inUse || attempt === RENAME_ATTEMPTS) throw error;
      }
    }
  }

  /** Postgres does not have the old name: a renaming came to its end when it has the new one and only the metadata lacks it. */
  async #wasRenamed(
    { branchId }: BranchOf,
    endpoint: EndpointId,
    to: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const statements = [LIST_DATABASES];
    const [found] = await this.#s.branchSql.run(endpoint, { statements, readOnly: true }, signal);
    const { databases } = await this.#s.adopt.metadata(branchId);
    return (found?.rows ?? []).some(([name]) => name === to) && !databases.some((d) => d.name === to);
  }

  async delete(caller: Caller, request: DatabaseRef): Promise<DatabaseChanged> {
    const { branchSql, clock } = this.#s;
    const at = await branchSql.find(caller, request);
    const row = await this.#find(at, request.databaseName, caller.signal);
    const beganAt = clock.now();
    const endpoint = await branchSql.endpoint(at);
    await branchSql.run(endpoint, { statements: [dropDatabase(row.name)], separate: true }, caller.signal);
    failpoint('database-dropped-in-postgres');
    return commitChange(this.#s, {
      caller,
      at,
      endpoint,
      action: 'delete-database',
      detail: { database: row.name },
      beganAt,
      run: async (tx) => {
        await deleteDatabase(tx, { branchId: at.branchId, name: row.name });
        return row;
      },
      answer,
    });
  }

  async #find(at: BranchOf, name: string, signal: AbortSignal): Promise<DatabaseRow> {
    const isIt = (d: DatabaseRow): boolean => d.name === name;
    const known = (await this.#s.adopt.metadata(at.branchId)).databases;
    const found = known.find(isIt) ?? (await this.#s.adopt.known(at, signal)).databases.find(isIt);
    if (!found) throw databaseNotFound(name, at.branchId, known);
    return found;
  }
}

/** The owner may have been made by SQL and not been seen yet. */
async function knowOwner(tx: Db, branchId: BranchId, name: string, now: Date): Promise<void> {
  await insertRole(tx, { branchId, name, withPassword: false, staleBefore: undefined, now });
}

function answer(row: DatabaseRow, operations: DatabaseChanged['operations']): DatabaseChanged {
  return { database: databaseModel(row), operations };
}

/** Says which role is missing where PostgreSQL only says that one is. */
async function withOwner<T>(work: Promise<T>, ownerName: string, branchId: BranchId): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (sqlstateOf(error) === SQLSTATE.undefinedObject) throw roleNotFound(ownerName, branchId);
    throw error;
  }
}

function databaseExists(name: string, branchId: BranchId, cause?: unknown): CoppiceError {
  return new CoppiceError(
    'Conflict',
    'database-exists',
    `database ${JSON.stringify(name)} exists on branch ${branchId}`,
    { remedy: 'Choose another name.', cause },
  );
}

/** For whoever names a database that the branch does not have. */
export function databaseNotFound(
  name: string,
  branchId: BranchId,
  known: readonly { readonly name: string }[] = [],
): CoppiceError {
  const some = known.slice(0, 20).map((d) => d.name);
  return new CoppiceError(
    'NotFound',
    'database-not-found',
    `database ${JSON.stringify(name.slice(0, 63))} does not exist on branch ${branchId}`,
    { remedy: some.length > 0 ? `There are: ${some.join(', ')}.` : 'List the databases to see their names.' },
  );
}
