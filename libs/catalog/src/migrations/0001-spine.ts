/**
 * The first shape of the metadata.
 *
 *   agents ─< api_keys
 *   projects ─< branches ──1 timelines ──> ancestor timeline (… up to a template)
 *                 ├─< endpoints ─< computes        at most one live compute per read-write endpoint (index `computes_live`)
 *                 ├─< roles ─< credentials         a credential opens exactly one branch
 *                 └─< databases
 *   operations · nodes · generations · retention_points · idempotency_keys · audit_log
 *
 * What a fleet asks often has an index that holds just the rows that are due: idle computes (`computes_idle`), live computes
 * (`computes_live`, `computes_by_node`), open operations (`operations_open`).
 */
import { type Kysely, sql } from 'kysely';

const STATEMENTS = [
  `create table agents (
    id text primary key,
    name text not null,
    created_at timestamptz not null
  )`,
  `create table api_keys (
    id bigint generated always as identity primary key,
    agent_id text not null references agents,
    name text not null,
    key_hash bytea not null unique,
    scope text not null check (scope in ('fleet', 'agent', 'project', 'branch')),
    project_id text,
    branch_id text,
    created_at timestamptz not null,
    last_used_at timestamptz,
    revoked_at timestamptz
  )`,
  `create table timelines (
    id text primary key check (id ~ '^[0-9a-f]{32}$'),
    project_id text,
    ancestor_id text references timelines,
    ancestor_lsn pg_lsn,
    depth integer not null,
    pg_version integer not null,
    system_identifier numeric(20),
    head_lsn pg_lsn,
    setup_done_lsn pg_lsn,
    retained_from pg_lsn,
    created_at timestamptz not null,
    check ((ancestor_id is null) = (ancestor_lsn is null))
  )`,
  `comment on column timelines.head_lsn is 'end of committed WAL, while that is known exactly: before the first start and after a clean suspend'`,
  `comment on column timelines.setup_done_lsn is 'from here on the statements of projects.setup_sql are in effect'`,
  `comment on column timelines.retained_from is 'history before this position may be gone; null: all is kept'`,
  `create table templates (
    pg_version integer primary key,
    timeline_id text not null references timelines,
    lsn pg_lsn,
    ready_at timestamptz
  )`,
  `create table projects (
    id text primary key,
    agent_id text not null references agents,
    name text not null,
    pg_version integer not null,
    default_branch_id text not null,
    history_retention_seconds integer not null,
    suspend_timeout_seconds integer not null,
    setup_sql text[] not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz
  )`,
  `create index projects_listed on projects (agent_id, created_at desc, id desc) where deleted_at is null`,
  `create index projects_listed_fleet on projects (created_at desc, id desc) where deleted_at is null`,
  `create table branches (
    id text primary key,
    project_id text not null references projects,
    name text not null,
    parent_id text references branches,
    parent_lsn pg_lsn,
    parent_timestamp timestamptz,
    timeline_id text not null references timelines,
    is_default boolean not null,
    is_protected boolean not null,
    setup_pending boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz
  )`,
  `create unique index branches_name on branches (project_id, name) where deleted_at is null`,
  `create index branches_children on branches (parent_id) where deleted_at is null and parent_id is not null`,
  `create index branches_by_created on branches (project_id, created_at, id) where deleted_at is null`,
  `create index branches_by_updated on branches (project_id, updated_at, id) where deleted_at is null`,
  `create index branches_timeline on branches (timeline_id)`,
  `create table endpoints (
    id text primary key,
    project_id text not null references projects,
    branch_id text not null references branches,
    type text not null check (type in ('read_write', 'read_only')),
    suspend_timeout_seconds integer not null,
    min_compute_units double precision not null,
    max_compute_units double precision not null,
    disabled boolean not null default false,
    fencing_token bigint not null default 0,
    last_active_at timestamptz,
    started_at timestamptz,
    suspended_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz
  )`,
  `create unique index endpoints_read_write on endpoints (branch_id) where type = 'read_write' and deleted_at is null`,
  `create index endpoints_by_branch on endpoints (branch_id) where deleted_at is null`,
  `create index endpoints_by_project on endpoints (project_id, created_at, id) where deleted_at is null`,
  `create table nodes (
    id text primary key,
    kind text not null check (kind in ('agent', 'pageserver')),
    address text not null,
    incarnation text not null,
    heartbeat_at timestamptz not null,
    registered_at timestamptz not null
  )`,
  `create table computes (
    id text primary key,
    endpoint_id text not null references endpoints,
    branch_id text not null,
    project_id text not null,
    timeline_id text not null,
    node_id text not null,
    incarnation text not null,
    fencing_token bigint not null,
    state text not null check (state in ('starting', 'running', 'stopping', 'stopped', 'failed')),
    socket_directory text,
    port integer,
    start_lsn pg_lsn,
    commit_lsn pg_lsn,
    suspend_timeout_seconds integer not null,
    last_active_at timestamptz,
    idle_due_at timestamptz,
    created_at timestamptz not null,
    running_at timestamptz,
    ended_at timestamptz,
    failure text
  )`,
  `create unique index computes_live on computes (endpoint_id) where state in ('starting', 'running', 'stopping')`,
  `create index computes_by_node on computes (node_id) where state in ('starting', 'running', 'stopping')`,
  `create index computes_idle on computes (idle_due_at) where state = 'running' and idle_due_at is not null`,
  `create index computes_unfinished on computes (created_at) where state in ('starting', 'stopping')`,
  `create index computes_history on computes (endpoint_id, created_at desc)`,
  `create table roles (
    branch_id text not null references branches,
    name text not null,
    is_protected boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (branch_id, name)
  )`,
  `create table databases (
    id bigint generated always as identity primary key,
    branch_id text not null references branches,
    name text not null,
    owner_name text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    unique (branch_id, name)
  )`,
  `create table credentials (
    id uuid primary key,
    branch_id text not null references branches,
    role_name text not null,
    version integer not null,
    iterations integer,
    salt bytea,
    stored_key bytea,
    server_key bytea,
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null
  )`,
  `create unique index credentials_version on credentials (branch_id, role_name, version)`,
  `create table operations (
    id uuid primary key,
    project_id text,
    branch_id text,
    endpoint_id text,
    action text not null,
    status text not null check (status in ('scheduling', 'running', 'finished', 'failed')),
    error text,
    failures integer not null default 0,
    duration_ms integer not null default 0,
    created_at timestamptz not null,
    updated_at timestamptz not null
  )`,
  `create index operations_listed on operations (project_id, created_at desc, id desc)`,
  `create index operations_open on operations (created_at) where status in ('scheduling', 'running')`,
  `create table generations (
    generation bigint generated always as identity primary key,
    node_id text not null,
    address text not null,
    attached_at timestamptz not null
  )`,
  `create table retention_points (
    timeline_id text not null references timelines,
    lsn pg_lsn not null,
    kind text not null,
    name text not null,
    created_at timestamptz not null,
    primary key (timeline_id, kind, name)
  )`,
  `create table idempotency_keys (
    agent_id text not null,
    key text not null,
    fingerprint bytea not null,
    answer jsonb not null,
    created_at timestamptz not null,
    primary key (agent_id, key)
  )`,
  `create index idempotency_keys_old on idempotency_keys (created_at)`,
  `create table audit_log (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    agent_id text not null,
    task_id text,
    action text not null,
    project_id text,
    branch_id text,
    endpoint_id text
  )`,
  `create index audit_log_by_project on audit_log (project_id, at)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
