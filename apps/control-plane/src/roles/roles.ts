/**
 * Roles of a branch. Each change is made in Postgres first and known to the metadata after, so that what dies between leaves a
 * role that Postgres has and nobody can log in as; the same request, or a list, takes it over.
 */
import { deleteRole, insertRole, resetRole, type RoleRow } from '@coppice/catalog';
import type {
  BranchRef,
  CallContext,
  CreateRoleRequest,
  RoleChanged,
  RoleList,
  RoleModel,
  RoleRef,
} from '@coppice/contracts';
import { CoppiceError, failpoint } from '@coppice/service-kit';
import type { BranchId, EndpointId } from '@coppice/vocabulary';
import type { Caller } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import type { BranchOf, BranchSql } from '../computes/branch-sql';
import type { Passwords } from '../credentials/passwords';
import { checkRoleName } from '../naming/limits';
import type { Adopt } from './adopt';
import { commitChange, type CommitServices } from './commit-change';
import { adoptRole, createRole, dropRole, whatRoleOwns } from './object-sql';
import { SQLSTATE, unlessRefused } from './sql-state';

export interface RoleServices extends CommitServices {
  readonly branchSql: BranchSql;
  readonly adopt: Adopt;
  readonly passwords: Passwords;
}

export class Roles {
  readonly #s: RoleServices;

  constructor(services: RoleServices) {
    this.#s = services;
  }

  async create(caller: Caller, request: CreateRoleRequest, context: CallContext): Promise<RoleChanged> {
    const at = await this.#s.branchSql.find(caller, request);
    const name = checkRoleName(request.roleName);
    return idempotently<RoleChanged>(this.#s.db, caller, context, {
      method: 'create-role',
      request,
      run: async (entry) => {
        const beganAt = this.#s.clock.now();
        const endpoint = await this.#s.branchSql.endpoint(at);
        const login = !request.noLogin;
        const made = await this.#make(at, endpoint, { name, login }, caller.signal);
        failpoint('role-made-in-postgres');
        const changed = await commitChange<RoleRow, RoleChanged>(this.#s, {
          caller,
          at,
          endpoint,
          action: 'create-role',
          detail: { role: name, login },
          beganAt,
          run: async (tx, now) => {
            const staleBefore = made ? new Date(beganAt) : undefined;
            const row = await insertRole(tx, {
              branchId: at.branchId,
              name,
              withPassword: login,
              staleBefore,
              now,
            });
            if (!row) throw roleExists(name, at.branchId);
            return row;
          },
          answer: (row, operations) => ({ role: roleModel(row), operations }),
          entry,
        });
        return this.#reveal(changed);
      },
      reveal: (kept) => this.#reveal(kept),
    });
  }

  /** False when Postgres has the role already: made by SQL, or by a request that did not come to its end. */
  async #make(
    at: BranchOf,
    endpoint: EndpointId,
    role: { readonly name: string; readonly login: boolean },
    signal: AbortSignal,
  ): Promise<boolean> {
    const { branchSql, adopt } = this.#s;
    const create = branchSql.run(endpoint, { statements: [createRole(role.name, role)] }, signal);
    if (await unlessRefused(create, SQLSTATE.duplicateObject)) return true;
    const { roles } = await adopt.metadata(at.branchId);
    if (roles.some((r) => r.name === role.name)) throw roleExists(role.name, at.branchId);
    await branchSql.run(endpoint, { statements: [adoptRole(role.name, role)] }, signal);
    return false;
  }

  async list(caller: Caller, request: BranchRef): Promise<RoleList> {
    const at = await this.#s.branchSql.find(caller, request);
    const { roles } = await this.#s.adopt.known(at, caller.signal);
    return { roles: roles.map((r) => roleModel(r)) };
  }

  async get(caller: Caller, request: RoleRef): Promise<RoleModel> {
    const at = await this.#s.branchSql.find(caller, request);
    return roleModel(await this.#find(at, request.roleName, caller.signal));
  }

  async revealPassword(caller: Caller, request: RoleRef): Promise<RoleModel> {
    const at = await this.#s.branchSql.find(caller, request);
    const row = await this.#find(at, request.roleName, caller.signal);
    if (row.version === null)
      throw new CoppiceError('Conflict', 'role-has-no-password', `role ${shown(row.name)} has no password`, {
        remedy: 'Reset its password to give it one.',
      });
    return this.#withPassword(roleModel(row), row.version);
  }

  /** The password before opens nothing any more, and sessions that it opened end. */
  async resetPassword(caller: Caller, request: RoleRef): Promise<RoleChanged> {
    const at = await this.#s.branchSql.find(caller, request);
    const { name } = await this.#find(at, request.roleName, caller.signal);
    return commitChange(this.#s, {
      caller,
      at,
      endpoint: undefined,
      action: 'reset-role-password',
      detail: { role: name },
      beganAt: this.#s.clock.now(),
      run: async (tx, now) => {
        const row = await resetRole(tx, at.branchId, name, now);
        if (row?.version == null) throw roleNotFound(name, at.branchId);
        return { row, version: row.version };
      },
      answer: ({ row, version }, operations) => ({
        role: this.#withPassword(roleModel(row), version),
        operations,
      }),
    });
  }

  async delete(caller: Caller, request: RoleRef): Promise<RoleChanged> {
    const { branchSql, clock } = this.#s;
    const at = await branchSql.find(caller, request);
    const row = await this.#find(at, request.roleName, caller.signal);
    const beganAt = clock.now();
    const endpoint = await branchSql.endpoint(at);
    const drop = branchSql.run(endpoint, { statements: [dropRole(row.name)] }, caller.signal);
    if (!(await unlessRefused(drop, SQLSTATE.dependentObjects))) {
      const statements = [whatRoleOwns(row.name)];
      const [what] = await branchSql.run(endpoint, { statements, readOnly: true }, caller.signal);
      throw roleOwns(row.name, what?.rows.map(([text]) => text ?? '') ?? []);
    }
    failpoint('role-dropped-in-postgres');
    return commitChange(this.#s, {
      caller,
      at,
      endpoint,
      action: 'delete-role',
      detail: { role: row.name },
      beganAt,
      run: (tx, now) => deleteRole(tx, { branchId: at.branchId, name: row.name }, now),
      answer: (_, operations) => ({ role: roleModel(row), operations }),
    });
  }

  async #find(at: BranchOf, name: string, signal: AbortSignal): Promise<RoleRow> {
    const isIt = (r: RoleRow): boolean => r.name === name;
    const known = (await this.#s.adopt.metadata(at.branchId)).roles;
    const found = known.find(isIt) ?? (await this.#s.adopt.known(at, signal)).roles.find(isIt);
    if (!found) throw roleNotFound(name, at.branchId, known);
    return found;
  }

  async #reveal(kept: RoleChanged): Promise<RoleChanged> {
    const { name, branchId } = kept.role;
    const { roles } = await this.#s.adopt.metadata(branchId as BranchId);
    const version = roles.find((r) => r.name === name)?.version;
    return version == null ? kept : { ...kept, role: this.#withPassword(kept.role, version) };
  }

  #withPassword(role: RoleModel, version: number): RoleModel {
    const branchId = role.branchId as BranchId;
    return { ...role, password: this.#s.passwords.derive({ branchId, role: role.name, version }) };
  }
}

function roleModel(row: RoleRow): RoleModel {
  return {
    branchId: row.branch_id,
    name: row.name,
    password: '',
    isProtected: row.is_protected,
    createdUnixMs: row.created_at,
    updatedUnixMs: row.updated_at,
  };
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 63));
}

function roleExists(name: string, branchId: BranchId): CoppiceError {
  return new CoppiceError('Conflict', 'role-exists', `role ${shown(name)} exists on branch ${branchId}`, {
    remedy: 'Choose another name, or reset its password.',
  });
}

/** For whoever names a role that the branch does not have. */
export function roleNotFound(
  name: string,
  branchId: BranchId,
  known: readonly { readonly name: string }[] = [],
): CoppiceError {
  const some = known.slice(0, 20).map((r) => r.name);
  return new CoppiceError(
    'NotFound',
    'role-not-found',
    `role ${shown(name)} does not exist on branch ${branchId}`,
    { remedy: some.length > 0 ? `There are: ${some.join(', ')}.` : 'List the roles to see their names.' },
  );
}

function roleOwns(name: string, what: readonly string[]): CoppiceError {
  return new CoppiceError(
    'Conflict',
    'role-owns-objects',
    `role ${shown(name)} owns or has privileges on: ${what.join('; ').slice(0, 1_000)}`,
    { remedy: 'Give these to another role (REASSIGN OWNED, REVOKE) or drop them first.' },
  );
}
