/**
 * A branch is made by one statement, hence in one transaction and one round trip whatever it consists of: its timeline,
 * itself, endpoints, roles and databases (copied from the parent or given), one credential per role, operations, the audit
 * entry and the idempotency key. The ancestor's and the parent's rows are held in share mode, without a parent the project's:
 * garbage collection moves `retained_from`, and deletion sets `deleted_at`, under the same locks.
 *
 * The same statement makes siblings, several branches of one parent, so that what all of them need is done once: starting a
 * statement with so many parts costs as much as a branch.
 */
import { sql } from 'kysely';
import {
  type BranchId,
  type EndpointId,
  formatLsn,
  type Lsn,
  type ProjectId,
  type TimelineId,
} from '@coppice/vocabulary';
import type { Actor } from './audit-log';
import type { Db } from './database';
import type { IdempotencyEntry } from './idempotency';
import { checkVerdict, guardedAgent, guardKey, type GuardVerdict, type QuotaGuard } from './quota-guard';
import type { EndpointType, OperationStatus, TtlKind } from './schema';

export interface NewBranch {
  readonly id: BranchId;
  readonly projectId: ProjectId;
  readonly name: string;
  readonly parentId: BranchId | undefined;
  /** As shown to users; storage goes by the timeline. */
  readonly parentLsn: Lsn | undefined;
  readonly parentTimestamp: Date | undefined;
  readonly isDefault: boolean;
  readonly isProtected: boolean;
  readonly setupPending: boolean;
  /** It starts in the past, where roles may be missing that it gets. */
  readonly loginsPending?: boolean;
  /** When it ends by itself; absent: it does not. */
  readonly ttl: NewTtl | undefined;
  readonly annotations: Readonly<Record<string, string>>;
  readonly timeline: { readonly id: TimelineId; readonly ancestorId: TimelineId; readonly ancestorLsn: Lsn };
  readonly endpoints: readonly NewEndpointRow[];
  /** Whether it gets the roles and databases of the parent, besides those given; absent: it does. */
  readonly loginsFrom?: 'parent' | 'given';
  /** Besides those that are copied from the parent. */
  readonly roles: readonly string[];
  readonly databases: readonly { readonly name: string; readonly ownerName: string }[];
  readonly operations: readonly NewOperationRow[];
  readonly audit: Actor & { readonly action: string };
  readonly idempotency: IdempotencyEntry | undefined;
  /** What it was reserved under; absent where nothing is counted. */
  readonly quota: QuotaGuard | undefined;
  readonly now: Date;
}

export interface NewTtl {
  readonly kind: TtlKind;
  readonly seconds: number;
  readonly subtree: boolean;
  readonly expiresAt: Date;
}

export interface NewEndpointRow {
  readonly id: EndpointId;
  readonly type: EndpointType;
  readonly suspendTimeoutSeconds: number;
  readonly minComputeUnits: number;
  readonly maxComputeUnits: number;
}

export interface NewOperationRow {
  readonly id: string;
  readonly action: string;
  readonly endpointId: EndpointId | undefined;
  readonly status: OperationStatus;
  readonly durationMs: number;
}

export interface InsertedBranch {
  readonly roles: readonly string[];
  readonly databases: readonly { readonly id: number; readonly name: string; readonly ownerName: string }[];
}

/**
 * `undefined` when the parent (without one, the project) is gone or the ancestor does not hold that position any more. Throws
 * `StaleQuota` when it was not reserved as things stand.
 */
export async function insertBranch(db: Db, branch: NewBranch): Promise<InsertedBranch | undefined> {
  const [made] = await insertSiblings(db, [branch]);
  return made;
}

/** The same text for branches that can be made together: all that is checked of them before they are made is the same. */
export function siblingKey({ projectId, parentId, timeline, quota }: NewBranch): string {
  return JSON.stringify([projectId, parentId, timeline.ancestorId, quota && guardKey(quota)]);
}

/** `insertBranch` for several that are siblings: all of them or, when it throws, none. */
export async function insertSiblings(
  db: Db,
  branches: readonly NewBranch[],
): Promise<(InsertedBranch | undefined)[]> {
  const [first] = branches;
  if (!first) return [];
  const key = siblingKey(first);
  if (branches.some((b) => siblingKey(b) !== key)) throw new Error('the branches are not siblings');
  const { projectId, parentId, quota } = first;
  const { rows } = await sql<
    GuardVerdict & {
      made: readonly BranchId[];
      roles: readonly { readonly branch: BranchId; readonly name: string }[];
      databases: readonly (InsertedBranch['databases'][number] & { readonly branch: BranchId })[];
    }
  >`
    with given as (
      select * from jsonb_to_recordset(${JSON.stringify(branches.map(givenBranch))}::jsonb) as g(
        id text, name text, at timestamptz, parent_lsn pg_lsn, parent_timestamp timestamptz, timeline_id text, ancestor_lsn pg_lsn,
        is_default boolean, is_protected boolean, setup_pending boolean, logins_pending boolean,
        ttl_kind text, ttl_seconds integer, ttl_subtree boolean, expires_at timestamptz, annotations jsonb,
        task_id text, made_by text, key_id bigint, action text, logins_of text,
        endpoints jsonb, roles jsonb, databases jsonb, operations jsonb, key text, fingerprint bytea, answer text)
    ), agent as (${quota === undefined ? sql`select true as epoch_fits, true as limits_fit` : guardedAgent(quota)}
    ), parent as (${
      parentId === undefined
        ? sql`select id from projects where id = ${projectId} and deleted_at is null for share`
        : sql`select id from branches where id = ${parentId} and deleted_at is null for share`
    }
    ), ancestor as (
      select id, depth, pg_version, system_identifier, retained_from from timelines where id = ${first.timeline.ancestorId} for share
    ), timeline as (
      insert into timelines (id, project_id, ancestor_id, ancestor_lsn, depth, pg_version, system_identifier, head_lsn, created_at)
      select g.timeline_id, ${projectId}, a.id, g.ancestor_lsn, a.depth + 1, a.pg_version, a.system_identifier, g.ancestor_lsn, g.at
      from ancestor a, given g
      where (a.retained_from is null or a.retained_from <= g.ancestor_lsn)
        and exists (select from parent) and exists (select from agent where epoch_fits and limits_fit)
      returning id
    ), branch as (
      insert into branches (id, project_id, name, parent_id, parent_lsn, parent_timestamp, timeline_id, is_default, is_protected, setup_pending, logins_pending,
        ttl_kind, ttl_seconds, ttl_subtree, expires_at, task_id, created_by, annotations, created_at, updated_at)
      select g.id, ${projectId}, g.name, ${parentId ?? null}, g.parent_lsn, g.parent_timestamp, t.id, g.is_default, g.is_protected, g.setup_pending, g.logins_pending,
        g.ttl_kind, g.ttl_seconds, g.ttl_subtree, g.expires_at, g.task_id, g.made_by, g.annotations, g.at, g.at
      from timeline t join given g on g.timeline_id = t.id returning id
    ), made as (
      select g.* from branch join given g on g.id = branch.id
    ), new_endpoints as (
      insert into endpoints (id, project_id, branch_id, type, suspend_timeout_seconds, min_compute_units, max_compute_units, created_at, updated_at)
      select e.id, ${projectId}, m.id, e.type, e.timeout, e.min_cu, e.max_cu, m.at, m.at
      from made m, jsonb_to_recordset(m.endpoints) as e(id text, type text, timeout integer, min_cu double precision, max_cu double precision)
    ), new_roles as (
      insert into roles (branch_id, name, is_protected, created_at, updated_at)
      select m.id, r.name, r.is_protected, m.at, m.at
      from made m, lateral (
        select name, is_protected from roles where branch_id = m.logins_of
        union all select name, false from jsonb_array_elements_text(m.roles) as own(name)
      ) r returning name, branch_id, created_at
    ), new_credentials as (
      insert into credentials (id, branch_id, role_name, version, created_at)
      select gen_random_uuid(), branch_id, name, 1, created_at from new_roles
    ), new_databases as (
      insert into databases (branch_id, name, owner_name, created_at, updated_at)
      select m.id, d.name, d.owner_name, m.at, m.at
      from made m, lateral (
        select name, owner_name from databases where branch_id = m.logins_of
        union all select name, owner_name from jsonb_to_recordset(m.databases) as own(name text, owner_name text)
      ) d returning id, branch_id, name, owner_name
    ), new_operations as (
      insert into operations (id, project_id, branch_id, endpoint_id, action, status, duration_ms, created_at, updated_at)
      select o.id, ${projectId}, m.id, o.endpoint_id, o.action, o.status, o.ms, m.at, m.at
      from made m, jsonb_to_recordset(m.operations) as o(id uuid, action text, endpoint_id text, status text, ms integer)
    ), new_audit as (
      insert into audit_log (at, agent_id, task_id, action, project_id, branch_id, key_id, owner_id)
      select m.at, m.made_by, m.task_id, m.action, ${projectId}, m.id, m.key_id,
        coalesce((select agent_id from projects where id = ${projectId}), m.made_by) from made m
    ), new_key as (
      insert into idempotency_keys (agent_id, key, fingerprint, answer, created_at)
      select made_by, key, fingerprint, answer::jsonb, at from made where key is not null
    )
    select (select coalesce(json_agg(id), '[]') from made) as made, (select epoch_fits from agent), (select limits_fit from agent),
      (select coalesce(json_agg(json_build_object('branch', branch_id, 'name', name) order by name), '[]') from new_roles) as roles,
      (select coalesce(json_agg(json_build_object('branch', branch_id, 'id', id, 'name', name, 'ownerName', owner_name) order by id), '[]') from new_databases) as databases`.execute(
    db,
  );
  const row = rows[0];
  if (!row || row.made.length < branches.length) checkVerdict(row);
  return branches.map(({ id }) =>
    row?.made.includes(id)
      ? {
          roles: row.roles.filter((r) => r.branch === id).map((r) => r.name),
          databases: row.databases
            .filter((d) => d.branch === id)
            .map(({ branch: _, ...database }) => database),
        }
      : undefined,
  );
}

/** A branch as the statement reads it. */
function givenBranch(b: NewBranch): Readonly<Record<string, unknown>> {
  return {
    id: b.id,
    name: b.name,
    at: b.now,
    parent_lsn: b.parentLsn === undefined ? undefined : formatLsn(b.parentLsn),
    parent_timestamp: b.parentTimestamp,
    timeline_id: b.timeline.id,
    ancestor_lsn: formatLsn(b.timeline.ancestorLsn),
    is_default: b.isDefault,
    is_protected: b.isProtected,
    setup_pending: b.setupPending,
    logins_pending: b.loginsPending ?? false,
    ttl_kind: b.ttl?.kind,
    ttl_seconds: b.ttl?.seconds,
    ttl_subtree: b.ttl?.subtree ?? false,
    expires_at: b.ttl?.expiresAt,
    annotations: b.annotations,
    task_id: b.audit.taskId,
    made_by: b.audit.agentId,
    key_id: b.audit.keyId,
    action: b.audit.action,
    logins_of: b.loginsFrom === 'given' ? undefined : b.parentId,
    endpoints: b.endpoints.map((e) => ({
      id: e.id,
      type: e.type,
      timeout: e.suspendTimeoutSeconds,
      min_cu: e.minComputeUnits,
      max_cu: e.maxComputeUnits,
    })),
    roles: b.roles,
    databases: b.databases.map((d) => ({ name: d.name, owner_name: d.ownerName })),
    operations: b.operations.map((o) => ({
      id: o.id,
      action: o.action,
      endpoint_id: o.endpointId,
      status: o.status,
      ms: o.durationMs,
    })),
    key: b.idempotency?.key,
    fingerprint: b.idempotency && `\\x${b.idempotency.fingerprint.toString('hex')}`,
    answer: b.idempotency?.answer,
  };
}
