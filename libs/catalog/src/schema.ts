/** The tables as kysely sees them. What is read: LSNs as `Lsn`, times as Unix milliseconds, bigint as exact numbers. */
import type { ColumnType, Generated } from 'kysely';
import type {
  BranchId,
  ComputeId,
  EndpointId,
  Lsn,
  NodeId,
  ProjectId,
  TimelineId,
} from '@coppice/vocabulary';

/** Written as text (`formatLsn`), read as `Lsn`. */
export type LsnColumn = ColumnType<Lsn, string, string>;
export type NullableLsnColumn = ColumnType<Lsn | null, string | null | undefined, string | null>;
/** Written as `Date`, read as Unix milliseconds. */
export type TimeColumn = ColumnType<number, Date, Date>;
export type NullableTimeColumn = ColumnType<number | null, Date | null | undefined, Date | null>;

export type ApiKeyScope = 'fleet' | 'agent' | 'project' | 'branch';
export type EndpointType = 'read_write' | 'read_only';
export type ComputeRowState = 'starting' | 'running' | 'stopping' | 'stopped' | 'failed';
export type TtlKind = 'absolute' | 'idle' | 'lease';
export type CheckpointKind = 'checkpoint' | 'automatic' | 'snapshot';
export type CredentialAccess = 'read_write' | 'read_only';
/** Limits of a project, 0 or absent: none. */
export interface ProjectSettings {
  readonly activeSeconds?: number;
  readonly computeSeconds?: number;
  readonly writtenBytes?: number;
  readonly transferredBytes?: number;
  readonly logicalSizeBytes?: number;
}
/** Written as JSON text, read as a value. */
export type JsonColumn<T> = ColumnType<T, string | undefined, string>;
export type NullableJsonColumn<T> = ColumnType<T | null, string | null | undefined, string | null>;
export type OperationStatus = 'scheduling' | 'running' | 'finished' | 'failed';

export interface AgentsTable {
  id: string;
  name: string;
  max_projects: number | null;
  max_branches: number | null;
  max_computes: number | null;
  max_storage_bytes: number | null;
  max_compute_seconds: number | null;
  max_requests_per_second: number | null;
  /** Raised whenever counters are rebuilt or limits change: what was reserved before does not count any more. */
  quota_epoch: Generated<number>;
  created_at: TimeColumn;
  updated_at: TimeColumn;
  deleted_at: NullableTimeColumn;
}

export interface ApiKeysTable {
  id: Generated<number>;
  agent_id: string;
  name: string;
  key_hash: Buffer;
  scope: ApiKeyScope;
  project_id: string | null;
  branch_id: string | null;
  created_at: TimeColumn;
  created_by: number | null;
  expires_at: NullableTimeColumn;
  last_used_at: NullableTimeColumn;
  last_used_from: Generated<string>;
  revoked_at: NullableTimeColumn;
}

export interface TimelinesTable {
  id: TimelineId;
  project_id: ProjectId | null;
  ancestor_id: TimelineId | null;
  ancestor_lsn: NullableLsnColumn;
  depth: number;
  pg_version: number;
  /** Unsigned 64-bit, as decimal text. */
  system_identifier: string | null;
  head_lsn: NullableLsnColumn;
  setup_done_lsn: NullableLsnColumn;
  retained_from: NullableLsnColumn;
  purge_due_at: NullableTimeColumn;
  created_at: TimeColumn;
}

export interface TemplatesTable {
  pg_version: number;
  timeline_id: TimelineId;
  lsn: NullableLsnColumn;
  ready_at: NullableTimeColumn;
}

export interface ProjectsTable {
  id: ProjectId;
  agent_id: string;
  name: string;
  pg_version: number;
  default_branch_id: BranchId;
  history_retention_seconds: number;
  suspend_timeout_seconds: number;
  setup_sql: string[];
  settings: JsonColumn<ProjectSettings>;
  min_compute_units: Generated<number>;
  max_compute_units: Generated<number>;
  created_at: TimeColumn;
  updated_at: TimeColumn;
  deleted_at: NullableTimeColumn;
  deletion_id: string | null;
  recoverable_until: NullableTimeColumn;
}

export interface BranchesTable {
  id: BranchId;
  project_id: ProjectId;
  name: string;
  parent_id: BranchId | null;
  parent_lsn: NullableLsnColumn;
  parent_timestamp: NullableTimeColumn;
  timeline_id: TimelineId;
  is_default: boolean;
  is_protected: boolean;
  setup_pending: boolean;
  ttl_kind: TtlKind | null;
  ttl_seconds: number | null;
  ttl_subtree: Generated<boolean>;
  expires_at: NullableTimeColumn;
  restored_from: string | null;
  restored_as: BranchId | null;
  restore_status: string | null;
  restore_target: BranchId | null;
  logins_pending: Generated<boolean>;
  last_reset_at: NullableTimeColumn;
  task_id: string | null;
  created_by: string | null;
  annotations: JsonColumn<Readonly<Record<string, string>>>;
  created_at: TimeColumn;
  updated_at: TimeColumn;
  deleted_at: NullableTimeColumn;
  deletion_id: string | null;
  deletion_method: 'user' | 'ttl' | null;
  recoverable_until: NullableTimeColumn;
}

export interface EndpointsTable {
  id: EndpointId;
  project_id: ProjectId;
  branch_id: BranchId;
  type: EndpointType;
  suspend_timeout_seconds: number;
  min_compute_units: number;
  max_compute_units: number;
  disabled: boolean;
  fencing_token: number;
  last_active_at: NullableTimeColumn;
  started_at: NullableTimeColumn;
  suspended_at: NullableTimeColumn;
  name: Generated<string>;
  created_at: TimeColumn;
  updated_at: TimeColumn;
  deleted_at: NullableTimeColumn;
  deletion_id: string | null;
}

export interface NodesTable {
  id: NodeId;
  kind: 'agent' | 'pageserver';
  address: string;
  incarnation: string;
  heartbeat_at: TimeColumn;
  registered_at: TimeColumn;
  /** What an agent said of itself; null until it has, and of other nodes. */
  starts_at_once: number | null;
  max_computes: number | null;
  memory_bytes: number | null;
}

export interface ComputesTable {
  id: ComputeId;
  endpoint_id: EndpointId;
  branch_id: BranchId;
  project_id: ProjectId;
  timeline_id: TimelineId;
  node_id: NodeId;
  incarnation: string;
  fencing_token: number;
  state: ComputeRowState;
  socket_directory: string | null;
  port: number | null;
  start_lsn: NullableLsnColumn;
  commit_lsn: NullableLsnColumn;
  suspend_timeout_seconds: number;
  last_active_at: NullableTimeColumn;
  idle_due_at: NullableTimeColumn;
  agent_id: string | null;
  /** Its size, as last reported, and what its sizes came to by then. */
  compute_units: Generated<number>;
  unit_seconds: Generated<number>;
  unit_seconds_at: NullableTimeColumn;
  metered_unit_seconds: Generated<number>;
  metered_until: NullableTimeColumn;
  metered_lsn: NullableLsnColumn;
  created_at: TimeColumn;
  running_at: NullableTimeColumn;
  ended_at: NullableTimeColumn;
  failure: string | null;
  /** An estimate until it was measured. */
  memory_bytes: Generated<number>;
  awake_reasons: ColumnType<readonly AwakeReason[], string | undefined, string>;
  awake_at: NullableTimeColumn;
  /** Whose and where, of a compute that runs a branch as it was. */
  position: string | null;
}

/** Something that kept a compute awake, as its agent saw it. Nothing of it is the text of a query. */
export interface AwakeReason {
  readonly kind: string;
  readonly sinceUnixMs: number;
  /** Of the server process; 0 where there is none. */
  readonly pid: number;
  /** A prepared transaction's identifier, a replication client, a table. */
  readonly name: string;
  readonly database: string;
}

export interface RolesTable {
  branch_id: BranchId;
  name: string;
  is_protected: boolean;
  created_at: TimeColumn;
  updated_at: TimeColumn;
}

export interface DatabasesTable {
  id: Generated<number>;
  branch_id: BranchId;
  name: string;
  owner_name: string;
  created_at: TimeColumn;
  updated_at: TimeColumn;
}

export interface CredentialsTable {
  id: string;
  branch_id: BranchId;
  role_name: string;
  version: number;
  iterations: number | null;
  salt: Buffer | null;
  stored_key: Buffer | null;
  server_key: Buffer | null;
  kind: Generated<'role' | 'scoped'>;
  /** The user to connect as with a scoped credential. */
  login: string | null;
  name: Generated<string>;
  access: Generated<CredentialAccess>;
  ttl_seconds: number | null;
  created_by: string | null;
  expires_at: NullableTimeColumn;
  revoked_at: NullableTimeColumn;
  created_at: TimeColumn;
}

export interface OperationsTable {
  id: string;
  project_id: ProjectId | null;
  branch_id: BranchId | null;
  endpoint_id: EndpointId | null;
  action: string;
  status: OperationStatus;
  error: string | null;
  failures: number;
  duration_ms: number;
  detail: NullableJsonColumn<unknown>;
  claimed_until: NullableTimeColumn;
  created_at: TimeColumn;
  updated_at: TimeColumn;
}

export interface GenerationsTable {
  generation: Generated<number>;
  node_id: NodeId;
  address: string;
  attached_at: TimeColumn;
}

export interface CheckpointsTable {
  id: string;
  kind: CheckpointKind;
  project_id: ProjectId;
  /** Null for a snapshot whose branch was purged. */
  branch_id: BranchId | null;
  name: string;
  timeline_id: TimelineId;
  lsn: LsnColumn;
  before_setup: boolean;
  at_timestamp: NullableTimeColumn;
  size_bytes: number | null;
  /** Roles and databases of the branch when the checkpoint was made. */
  roles: Generated<string[]>;
  databases: Generated<readonly { readonly name: string; readonly ownerName: string }[]>;
  task_id: string | null;
  expires_at: NullableTimeColumn;
  created_at: TimeColumn;
}

export interface QuotaReleasesTable {
  id: Generated<number>;
  agent_id: string;
  epoch: number;
  projects: number;
  branches: number;
  computes: number;
}

export interface UsageHoursTable {
  branch_id: BranchId;
  hour: TimeColumn;
  project_id: ProjectId;
  agent_id: string;
  task_id: string | null;
  compute_unit_seconds: Generated<number>;
  active_seconds: Generated<number>;
  written_bytes: Generated<number>;
  transferred_bytes: Generated<number>;
  logical_bytes: Generated<number>;
  own_bytes: Generated<number>;
}

export interface AgentMonthsTable {
  agent_id: string;
  month: TimeColumn;
  compute_unit_seconds: Generated<number>;
}

export interface BranchSizesTable {
  branch_id: BranchId;
  agent_id: string;
  logical_bytes: number;
  own_bytes: number;
  /** What limits on storage count. */
  held_bytes: number;
  base_bytes: number | null;
  measured_at: TimeColumn;
}

export interface IdempotencyKeysTable {
  agent_id: string;
  key: string;
  fingerprint: Buffer;
  answer: ColumnType<unknown, string, string>;
  created_at: TimeColumn;
}

export interface AuditLogTable {
  id: Generated<number>;
  at: TimeColumn;
  agent_id: string;
  task_id: string | null;
  action: string;
  project_id: ProjectId | null;
  branch_id: BranchId | null;
  endpoint_id: EndpointId | null;
  key_id: number | null;
  detail: NullableJsonColumn<unknown>;
  /** The agent whose project it concerns, else who acted. */
  owner_id: string;
}

export interface CatalogTables {
  agents: AgentsTable;
  api_keys: ApiKeysTable;
  timelines: TimelinesTable;
  templates: TemplatesTable;
  projects: ProjectsTable;
  branches: BranchesTable;
  endpoints: EndpointsTable;
  nodes: NodesTable;
  computes: ComputesTable;
  roles: RolesTable;
  databases: DatabasesTable;
  credentials: CredentialsTable;
  operations: OperationsTable;
  generations: GenerationsTable;
  checkpoints: CheckpointsTable;
  quota_releases: QuotaReleasesTable;
  usage_hours: UsageHoursTable;
  agent_months: AgentMonthsTable;
  branch_sizes: BranchSizesTable;
  idempotency_keys: IdempotencyKeysTable;
  audit_log: AuditLogTable;
}
