/** What of the metadata's roles and databases Postgres has otherwise, because SQL made, dropped or changed it. Pure. */
import type { DatabaseRow, RoleRow } from '@coppice/catalog';
import { MAX_LISTED } from './object-sql';

export interface FoundRole {
  readonly name: string;
  readonly canLogin: boolean;
}

export interface FoundDatabase {
  readonly name: string;
  readonly ownerName: string;
}

export interface Known {
  readonly roles: readonly RoleRow[];
  readonly databases: readonly DatabaseRow[];
}

export interface Found {
  readonly roles: readonly FoundRole[];
  readonly databases: readonly FoundDatabase[];
  /** Before Postgres was asked, Unix milliseconds: what the metadata learned later is newer than what was found. */
  readonly askedAt: number;
}

export interface Adoption {
  readonly newRoles: readonly string[];
  readonly goneRoles: readonly string[];
  readonly newDatabases: readonly FoundDatabase[];
  readonly goneDatabases: readonly string[];
  readonly newOwners: readonly FoundDatabase[];
}

const CONTROL = /[\u0000-\u001f\u007f]/;

export function planAdoption(known: Known, found: Found): Adoption {
  const isOld = (row: { readonly updated_at: number }): boolean => row.updated_at < found.askedAt;
  const roles = new Map(found.roles.map((r) => [r.name, r]));
  const databases = new Map(found.databases.map((d) => [d.name, d]));
  const knownRoles = new Set(known.roles.map((r) => r.name));
  const knownDatabases = new Map(known.databases.map((d) => [d.name, d]));
  const owners = new Set(found.databases.map((d) => d.ownerName));
  // Of more than are asked for, those that were not found may be there all the same.
  const allRoles = found.roles.length <= MAX_LISTED;
  const allDatabases = found.databases.length <= MAX_LISTED;
  return {
    newRoles: found.roles
      .filter((r) => (r.canLogin || owners.has(r.name)) && !knownRoles.has(r.name) && !CONTROL.test(r.name))
      .map((r) => r.name),
    goneRoles: known.roles.filter((r) => allRoles && !roles.has(r.name) && isOld(r)).map((r) => r.name),
    newDatabases: found.databases.filter((d) => !knownDatabases.has(d.name) && !CONTROL.test(d.name)),
    goneDatabases: known.databases
      .filter((d) => allDatabases && !databases.has(d.name) && isOld(d))
      .map((d) => d.name),
    newOwners: found.databases.filter((d) => {
      const row = knownDatabases.get(d.name);
      return row !== undefined && row.owner_name !== d.ownerName && isOld(row);
    }),
  };
}

export function isEmpty(a: Adoption): boolean {
  return Object.values(a).every((list: readonly unknown[]) => list.length === 0);
}
