/**
 * A branch is made by one statement, hence in one transaction and one round trip whatever it consists of: its timeline,
 * itself, endpoints, roles and databases (copied from the parent or given), one credential per role, operations, the audit
 * entry and the idempotency key. The ancestor's and the parent's rows are held in share mode, without a parent the project's:
 * garbage collection moves `retained_from`, and deletion sets `deleted_at`, under the same locks.
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
import { checkVerdict, guardedAgent, type GuardVerdict, type QuotaGuard } from './quota-guard';
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
 * `undefined` when the parent (without one, the project) is gone or the ancestor does not hold that position any more. Throws `StaleQuota` when it was not
 * reserved as things stand.
 */
export async function insertBranch(db: Db, b: NewBranch): Promise<InsertedBranch | undefined> {
  const endpoints = JSON.stringify(
    b.endpoints.map((e) => ({
      id: e.id,
      type: e.type,
      timeout: e.suspendTimeoutSeconds,
      min_cu: e.minComputeUnits,
      max_cu: e.maxComputeUnits,
    })),
  );
  const operations = JSON.stringify(
    b.operations.map((o) => ({
      id: o.id,
      action: o.action,
      endpoint_id: o.endpointId ?? null,
      status: o.status,
      ms: o.durationMs,
    })),
  );
  const ancestorLsn = formatLsn(b.timeline.ancestorLsn);
  const key = b.idempotency;
  const loginsOf = b.loginsFrom === 'given' ? null : (b.parentId ?? null);
  const { rows } = await sql<
    GuardVerdict & {
      made: number;
      roles: InsertedBranch['roles'];
      databases: InsertedBranch['databases'];
    }
  >`
    with agent as (${b.quota === undefined ? sql`select true as epoch_fits, true as limits_fit` : guardedAgent(b.quota)}
    ), parent as (${
      b.parentId === undefined
        ? sql`select id from projects where id = ${b.projectId} and deleted_at is null for share`
        : sql`select id from branches where id = ${b.parentId} and deleted_at is null for share`
    }
    ), ancestor as (
      select id, depth, pg_version, system_identifier from timelines
      where id = ${b.timeline.ancestorId} and (retained_from is null or retained_from <= ${ancestorLsn}::pg_lsn) for share
    ), timeline as (
      insert into timelines (id, project_id, ancestor_id, ancestor_lsn, depth, pg_version, system_identifier, head_lsn, created_at)
      select ${b.timeline.id}, ${b.projectId}, a.id, ${ancestorLsn}::pg_lsn, a.depth + 1, a.pg_version, a.system_identifier, ${ancestorLsn}::pg_lsn, ${b.now}::timestamptz
      from ancestor a where exists (select from parent) and exists (select from agent where epoch_fits and limits_fit)
      returning id
    ), branch as (
      insert into branches (id, project_id, name, parent_id, parent_lsn, parent_timestamp, timeline_id, is_default, is_protected, setup_pending, logins_pending,
        ttl_kind, ttl_seconds, ttl_subtree, expires_at, task_id, created_by, annotations, created_at, updated_at)
      select ${b.id}, ${b.projectId}, ${b.name}, ${b.parentId ?? null}, ${b.parentLsn === undefined ? null : formatLsn(b.parentLsn)}::pg_lsn,
        ${b.parentTimestamp ?? null}::timestamptz, t.id, ${b.isDefault}::boolean, ${b.isProtected}::boolean, ${b.setupPending}::boolean,
        ${b.loginsPending ?? false}::boolean,
        ${b.ttl?.kind ?? null}::text, ${b.ttl?.seconds ?? null}::integer, ${b.ttl?.subtree ?? false}::boolean, ${b.ttl?.expiresAt ?? null}::timestamptz,
        ${b.audit.taskId ?? null}::text, ${b.audit.agentId}::text, ${JSON.stringify(b.annotations)}::jsonb,
        ${b.now}::timestamptz, ${b.now}::timestamptz
      from timeline t returning id, created_at
    ), new_endpoints as (
      insert into endpoints (id, project_id, branch_id, type, suspend_timeout_seconds, min_compute_units, max_compute_units, created_at, updated_at)
      select e.id, ${b.projectId}, branch.id, e.type, e.timeout, e.min_cu, e.max_cu, branch.created_at, branch.created_at
      from branch, jsonb_to_recordset(${endpoints}::jsonb) as e(id text, type text, timeout integer, min_cu double precision, max_cu double precision)
    ), new_roles as (
      insert into roles (branch_id, name, is_protected, created_at, updated_at)
      select branch.id, r.name, r.is_protected, branch.created_at, branch.created_at
      from branch, (
        select name, is_protected from roles where branch_id = ${loginsOf}::text
        union all select name, false from unnest(${b.roles}::text[]) as given(name)
      ) r returning name, branch_id, created_at
    ), new_credentials as (
      insert into credentials (id, branch_id, role_name, version, created_at)
      select gen_random_uuid(), branch_id, name, 1, created_at from new_roles
    ), new_databases as (
      insert into databases (branch_id, name, owner_name, created_at, updated_at)
      select branch.id, d.name, d.owner_name, branch.created_at, branch.created_at
      from branch, (
        select name, owner_name from databases where branch_id = ${loginsOf}::text
        union all select name, owner_name from jsonb_to_recordset(${JSON.stringify(b.databases.map((d) => ({ name: d.name, owner_name: d.ownerName })))}::jsonb) as given(name text, owner_name text)
      ) d returning id, name, owner_name
    ), new_operations as (
      insert into operations (id, project_id, branch_id, endpoint_id, action, status, duration_ms, created_at, updated_at)
      select o.id, ${b.projectId}, branch.id, o.endpoint_id, o.action, o.status, o.ms, branch.created_at, branch.created_at
      from branch, jsonb_to_recordset(${operations}::jsonb) as o(id uuid, action text, endpoint_id text, status text, ms integer)
    ), new_audit as (
      insert into audit_log (at, agent_id, task_id, action, project_id, branch_id, key_id, owner_id)
      select branch.created_at, ${b.audit.agentId}, ${b.audit.taskId ?? null}, ${b.audit.action}, ${b.projectId}, branch.id, ${b.audit.keyId ?? null}::bigint,
        coalesce((select agent_id from projects where id = ${b.projectId}), ${b.audit.agentId}) from branch
    ), new_key as (
      insert into idempotency_keys (agent_id, key, fingerprint, answer, created_at)
      select ${b.audit.agentId}, ${key?.key ?? ''}, ${key?.fingerprint ?? Buffer.alloc(0)}::bytea, ${key?.answer ?? 'null'}::jsonb, branch.created_at
      from branch where ${key !== undefined}::boolean
    )
    select (select count(*)::integer from branch) as made, (select epoch_fits from agent), (select limits_fit from agent),
      (select coalesce(json_agg(name order by name), '[]') from new_roles) as roles,
      (select coalesce(json_agg(json_build_object('id', id, 'name', name, 'ownerName', owner_name) order by id), '[]') from new_databases) as databases`.execute(
    db,
  );
  const row = rows[0];
  if (row?.made !== 1) checkVerdict(row);
  return row?.made === 1 ? { roles: row.roles, databases: row.databases } : undefined;
}
