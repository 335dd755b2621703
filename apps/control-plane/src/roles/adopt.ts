/** Takes over into the metadata what SQL did to the roles and databases of a branch that runs. */
import {
  type CatalogTables,
  deleteDatabase,
  deleteRole,
  holdBranch,
  insertDatabase,
  insertRole,
  listDatabases,
  listRoles,
  updateDatabase,
} from '@coppice/catalog';
import type { Clock, Log } from '@coppice/service-kit';
import type { BranchId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import type { BranchOf, BranchSql } from '../computes/branch-sql';
import { type Adoption, isEmpty, type Known, planAdoption } from './adoption';
import { LIST_DATABASES, LIST_ROLES } from './object-sql';

export interface AdoptServices {
  readonly db: Kysely<CatalogTables>;
  readonly branchSql: BranchSql;
  readonly clock: Clock;
  readonly log: Log;
}

export class Adopt {
  readonly #s: AdoptServices;

  constructor(services: AdoptServices) {
    this.#s = services;
  }

  /** The roles and databases of a branch, as Postgres has them where the branch runs. */
  async known(at: BranchOf, signal: AbortSignal): Promise<Known> {
    const { branchSql, clock } = this.#s;
    const { branchId } = at;
    const askedAt = clock.now();
    const statements = [LIST_ROLES, LIST_DATABASES];
    const results = await branchSql.runIfAwake(at, { statements, readOnly: true }, signal);
    const known = await this.metadata(branchId);
    if (!results) return known;
    const [roles, databases] = results.map((r) => r.rows);
    const plan = planAdoption(known, {
      roles: (roles ?? []).map(([name, canLogin]) => ({ name: name ?? '', canLogin: canLogin === 't' })),
      databases: (databases ?? []).map(([name, owner]) => ({ name: name ?? '', ownerName: owner ?? '' })),
      askedAt,
    });
    if (isEmpty(plan)) return known;
    await this.#take(branchId, plan, new Date(askedAt));
    return this.metadata(branchId);
  }

  /** As far as the metadata knows. */
  async metadata(branchId: BranchId): Promise<Known> {
    const { db } = this.#s;
    return { roles: await listRoles(db, branchId), databases: await listDatabases(db, branchId) };
  }

  async #take(branchId: BranchId, plan: Adoption, unchangedSince: Date): Promise<void> {
    const { db, clock, log } = this.#s;
    const now = new Date(clock.now());
    await db.transaction().execute(async (tx) => {
      if (!(await holdBranch(tx, branchId))) return;
      for (const name of plan.goneRoles) await deleteRole(tx, { branchId, name, unchangedSince }, now);
      for (const name of plan.goneDatabases) await deleteDatabase(tx, { branchId, name, unchangedSince });
      for (const name of plan.newRoles)
        await insertRole(tx, { branchId, name, withPassword: false, staleBefore: undefined, now });
      for (const d of plan.newDatabases)
        await insertDatabase(tx, { branchId, ...d, staleBefore: undefined, now });
      for (const { name, ownerName } of plan.newOwners)
        await updateDatabase(tx, { branchId, name }, { name, ownerName }, now);
    });
    log.info({ branchId, ...plan }, 'roles and databases made by SQL are taken over');
  }
}
