/**
 * Agents with limits, time to live, recovery, checkpoints, scoped credentials, accounts.
 *
 *   agents.quota_epoch        counters that were taken under an older epoch do not count any more (see libs/leases)
 *   branches.expires_at       when the branch is due to end as things stand; `branches_expiring` holds just those that have one
 *   branches.deletion_id      branches and endpoints that were deleted by one request, and are recovered by one
 *   *.recoverable_until       while in the future a deleted thing can be recovered; then it is purged, in the order of these indexes
 *   timelines.purge_due_at    something that needed the timeline does not any more; purged when nothing does (see purge.ts)
 *   checkpoints               names for positions of history; each keeps its timeline
 *   branches.logins_pending   the state may lack roles that the branch's credentials are for: the next start creates them
 *   branches.restore_target   the branch whose state this one is to become when the restore is finalised
 *   usage_hours               what each branch used in each hour; `computes.metered_*` say up to where a run is accounted for
 *   quota_releases            what ended and is to be given back to the counters of agents; rows come by trigger, so that no path forgets
 *   operations.claimed_until  an open operation is carried on by whoever claims it; claims of those who died run out
 */
import { type Kysely, sql } from 'kysely';

const STATEMENTS = [
  `alter table agents
    add max_projects bigint, add max_branches bigint, add max_computes bigint, add max_storage_bytes bigint,
    add max_compute_seconds bigint, add max_requests_per_second bigint,
    add quota_epoch bigint not null default 1,
    add updated_at timestamptz, add deleted_at timestamptz`,
  `update agents set updated_at = created_at`,
  `alter table agents alter updated_at set not null`,
  `create index agents_listed on agents (created_at desc, id desc) where deleted_at is null`,
  `alter table api_keys add expires_at timestamptz, add last_used_from text not null default '', add created_by bigint`,
  `create index api_keys_of_agent on api_keys (agent_id, id) where revoked_at is null`,
  `alter table projects
    add settings jsonb not null default '{}',
    add min_compute_units double precision not null default 0, add max_compute_units double precision not null default 0,
    add deletion_id uuid, add recoverable_until timestamptz`,
  `create index projects_purgeable on projects (recoverable_until) where deleted_at is not null`,
  `alter table branches
    add ttl_kind text check (ttl_kind in ('absolute', 'idle', 'lease')), add ttl_seconds integer, add ttl_subtree boolean not null default false,
    add expires_at timestamptz,
    add deletion_id uuid, add deletion_method text check (deletion_method in ('user', 'ttl')), add recoverable_until timestamptz,
    add restored_from text, add restored_as text, add restore_status text, add restore_target text, add last_reset_at timestamptz,
    add logins_pending boolean not null default false,
    add task_id text, add created_by text, add annotations jsonb not null default '{}',
    add check ((ttl_kind is null) = (expires_at is null))`,
  `alter table branches drop constraint branches_parent_id_fkey,
    add constraint branches_parent_id_fkey foreign key (parent_id) references branches on delete set null`,
  `create index branches_expiring on branches (expires_at) where deleted_at is null and expires_at is not null`,
  `update branches set recoverable_until = deleted_at where deleted_at is not null`,
  `update projects set recoverable_until = deleted_at where deleted_at is not null`,
  `create index branches_purgeable on branches (recoverable_until) where deleted_at is not null`,
  `create index branches_all_children on branches (parent_id) where parent_id is not null`,
  `drop index branches_children`,
  `create index branches_deleted_together on branches (deletion_id) where deletion_id is not null`,
  `create index branches_of_project on branches (project_id)`,
  `alter table endpoints add name text not null default '', add deletion_id uuid`,
  `create index endpoints_of_branch on endpoints (branch_id)`,
  `drop index endpoints_by_branch`,
  `create index endpoints_of_project on endpoints (project_id)`,
  `alter table timelines add purge_due_at timestamptz`,
  `create index timelines_purgeable on timelines (purge_due_at) where purge_due_at is not null`,
  `create index timelines_children on timelines (ancestor_id) where ancestor_id is not null`,
  `drop table retention_points`,
  `create table checkpoints (
    id text primary key,
    kind text not null check (kind in ('checkpoint', 'automatic', 'snapshot')),
    project_id text not null references projects,
    branch_id text references branches on delete set null,
    name text not null,
    timeline_id text not null references timelines,
    lsn pg_lsn not null,
    before_setup boolean not null,
    at_timestamp timestamptz,
    size_bytes bigint,
    roles text[] not null default '{}',
    databases jsonb not null default '[]',
    task_id text,
    expires_at timestamptz,
    created_at timestamptz not null
  )`,
  `create unique index checkpoints_name on checkpoints (branch_id, name) where kind <> 'snapshot'`,
  `create index checkpoints_listed on checkpoints (branch_id, created_at desc, id desc)`,
  `create index checkpoints_snapshots on checkpoints (project_id, created_at desc, id desc) where kind = 'snapshot'`,
  `create index checkpoints_of_project on checkpoints (project_id)`,
  `create index checkpoints_timeline on checkpoints (timeline_id)`,
  `create index checkpoints_expiring on checkpoints (expires_at) where expires_at is not null`,
  `alter table computes
    add agent_id text, add compute_units double precision not null default 1, add metered_until timestamptz, add metered_lsn pg_lsn`,
  `update computes c set agent_id = p.agent_id from projects p where p.id = c.project_id`,
  `create index computes_of_agent on computes (agent_id) where state in ('starting', 'running', 'stopping')`,
  `create index computes_unmetered on computes (ended_at) where running_at is not null and (metered_until is null or metered_until < ended_at)`,
  `create index computes_ended on computes (ended_at) where ended_at is not null`,
  `create index computes_of_timeline on computes (timeline_id) where state in ('starting', 'running', 'stopping')`,
  `alter table credentials
    add kind text not null default 'role' check (kind in ('role', 'scoped')), add login text, add name text not null default '',
    add access text not null default 'read_write' check (access in ('read_write', 'read_only')), add ttl_seconds integer, add created_by text,
    add check ((kind = 'scoped') = (login is not null))`,
  `drop index credentials_version`,
  `create unique index credentials_version on credentials (branch_id, role_name, version) where kind = 'role'`,
  `create unique index credentials_login on credentials (branch_id, login) where kind = 'scoped'`,
  `create index credentials_expiring on credentials (expires_at) where revoked_at is null and expires_at is not null`,
  `create index credentials_of_branch on credentials (branch_id)`,
  `alter table operations add detail jsonb, add claimed_until timestamptz`,
  `alter table audit_log add key_id bigint, add detail jsonb, add owner_id text`,
  `update audit_log a set owner_id = coalesce((select agent_id from projects p where p.id = a.project_id), agent_id)`,
  `alter table audit_log alter owner_id set not null`,
  `comment on column audit_log.owner_id is 'the agent whose project it concerns, else who acted: who may see the entry'`,
  `create index audit_log_of_owner on audit_log (owner_id, id desc)`,
  `create index audit_log_of_project on audit_log (project_id, id desc)`,
  `create index audit_log_of_branch on audit_log (branch_id, id desc)`,
  `create index audit_log_of_agent on audit_log (agent_id, id desc)`,
  `create index audit_log_of_task on audit_log (task_id text_pattern_ops, id desc) where task_id is not null`,
  `drop index audit_log_by_project`,
  `create table quota_releases (
    id bigint generated always as identity primary key,
    agent_id text not null,
    epoch bigint not null,
    projects integer not null default 0,
    branches integer not null default 0,
    computes integer not null default 0
  )`,
  `create index quota_releases_of_agent on quota_releases (agent_id)`,
  // Agents without limits have no counters. The row is held in share mode: see libs/leases/src/quota-store.ts.
  `create function release_quota(agent text, of_projects bigint, of_branches bigint, of_computes bigint) returns void language plpgsql as $$
  declare current_epoch bigint;
  begin
    select quota_epoch into current_epoch from agents
      where id = agent and (max_projects is not null or max_branches is not null or max_computes is not null) for share;
    if found then
      insert into quota_releases (agent_id, epoch, projects, branches, computes)
        values (agent, current_epoch, of_projects::integer, of_branches::integer, of_computes::integer);
    end if;
  end $$`,
  `create function release_branches() returns trigger language plpgsql as $$
  begin
    perform release_quota(p.agent_id, 0, count(*), 0)
      from after_update n join before_update o on o.id = n.id join projects p on p.id = n.project_id
      where o.deleted_at is null and n.deleted_at is not null group by p.agent_id;
    return null;
  end $$`,
  `create trigger release_branches after update on branches
    referencing old table as before_update new table as after_update for each statement execute function release_branches()`,
  `create function release_projects() returns trigger language plpgsql as $$
  begin
    perform release_quota(n.agent_id, count(*), 0, 0)
      from after_update n join before_update o on o.id = n.id where o.deleted_at is null and n.deleted_at is not null group by n.agent_id;
    return null;
  end $$`,
  `create trigger release_projects after update on projects
    referencing old table as before_update new table as after_update for each statement execute function release_projects()`,
  `create function release_computes() returns trigger language plpgsql as $$
  begin
    perform release_quota(n.agent_id, 0, 0, count(*))
      from after_update n join before_update o on o.id = n.id
      where o.state in ('starting', 'running', 'stopping') and n.state in ('stopped', 'failed') and n.agent_id is not null group by n.agent_id;
    return null;
  end $$`,
  `create trigger release_computes after update on computes
    referencing old table as before_update new table as after_update for each statement execute function release_computes()`,
  `create table usage_hours (
    branch_id text not null,
    hour timestamptz not null,
    project_id text not null,
    agent_id text not null,
    task_id text,
    compute_unit_seconds double precision not null default 0,
    active_seconds double precision not null default 0,
    written_bytes bigint not null default 0,
    transferred_bytes bigint not null default 0,
    logical_bytes bigint not null default 0,
    own_bytes bigint not null default 0,
    primary key (branch_id, hour)
  )`,
  `create index usage_hours_of_project on usage_hours (project_id, hour)`,
  `create index usage_hours_of_agent on usage_hours (agent_id, hour)`,
  `create index usage_hours_of_task on usage_hours (task_id text_pattern_ops, hour) where task_id is not null`,
  `comment on column usage_hours.logical_bytes is 'the latest known in the hour'`,
  `create table agent_months (
    agent_id text not null,
    month timestamptz not null,
    compute_unit_seconds double precision not null default 0,
    primary key (agent_id, month)
  )`,
  `create table branch_sizes (
    branch_id text primary key references branches on delete cascade,
    agent_id text not null,
    logical_bytes bigint not null,
    own_bytes bigint not null,
    held_bytes bigint not null,
    base_bytes bigint,
    measured_at timestamptz not null
  )`,
  `create index branch_sizes_of_agent on branch_sizes (agent_id) include (held_bytes)`,
  `comment on column branch_sizes.held_bytes is 'what limits on storage count'`,
  `comment on column branch_sizes.base_bytes is 'the least logical size that its timelines started with'`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
