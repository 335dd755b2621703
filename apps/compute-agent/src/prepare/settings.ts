/**
 * `postgresql.conf` of a compute: what the agent owns, sizes by compute units, and the project's settings from an
 * allow-list. The agent's own come last in the file, so nothing before them can win.
 */
import { type ControlSettings, WalLevel } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';

/** Resource managers whose redo is not written: every record of theirs carries the page as it is afterwards. */
const SHIPPED_AS_IMAGES = 'gin,gist,spgist,hash,brin';

/** Name by which the agent's own replication connection is known; `synchronous_standby_names` lists it. */
export const WALPROPOSER_NAME = 'coppice';
/** Bootstrap superuser of every compute; only the agent and the proxy's internals use it. */
export const ADMIN_ROLE = 'coppice_admin';
/** Who every read-only session is, whatever credential it came with. */
export const READER_ROLE = 'coppice_reader';

export interface ComputeSizing {
  readonly maxConnections: number;
  readonly sharedBuffersMb: number;
  /** `max_pred_locks_per_transaction`: PostgreSQL fills the table of all of them at its start, whether it is used or not. */
  readonly predicateLocks: number;
  readonly jit: boolean;
}

/** As many predicate locks in all as stock has: 64 for each of its 100 connections and 22 processes. */
const PREDICATE_LOCKS = 64 * 122;

/** Sizes for a number of compute units (1 is 1 vCPU and 4 GiB); 0 is the default of a quarter. */
export function sizingOf(computeUnits: number): ComputeSizing {
  const units = Math.min(64, Math.max(0.25, computeUnits === 0 ? 0.25 : computeUnits));
  const maxConnections = Math.min(4000, Math.round(units * 400));
  return {
    maxConnections,
    sharedBuffersMb: Math.min(8192, Math.round(units * 128)),
    predicateLocks: Math.max(10, Math.min(64, Math.ceil(PREDICATE_LOCKS / (maxConnections + 22)))),
    jit: units >= 1,
  };
}

const PROJECT_SETTINGS = new Set([
  'autovacuum_analyze_scale_factor', 'autovacuum_analyze_threshold', 'autovacuum_naptime', 'autovacuum_vacuum_cost_delay',
  'autovacuum_vacuum_cost_limit', 'autovacuum_vacuum_insert_scale_factor', 'autovacuum_vacuum_scale_factor', 'autovacuum_vacuum_threshold',
  'bytea_output', 'client_min_messages', 'constraint_exclusion', 'cursor_tuple_fraction', 'datestyle', 'deadlock_timeout',
  'default_statistics_target', 'default_text_search_config', 'default_transaction_deferrable', 'default_transaction_isolation',
  'default_transaction_read_only', 'effective_cache_size', 'effective_io_concurrency', 'enable_bitmapscan', 'enable_hashagg', 'enable_hashjoin',
  'enable_indexonlyscan', 'enable_indexscan', 'enable_material', 'enable_memoize', 'enable_mergejoin', 'enable_nestloop', 'enable_seqscan',
  'enable_sort', 'extra_float_digits', 'from_collapse_limit', 'gin_fuzzy_search_limit', 'gin_pending_list_limit', 'hash_mem_multiplier',
  'idle_in_transaction_session_timeout', 'idle_session_timeout', 'intervalstyle', 'join_collapse_limit', 'lock_timeout',
  'log_lock_waits', 'log_min_duration_statement', 'log_statement', 'maintenance_work_mem',
  'max_parallel_maintenance_workers', 'max_parallel_workers', 'max_parallel_workers_per_gather', 'max_prepared_transactions', 'parallel_setup_cost',
  'parallel_tuple_cost', 'plan_cache_mode', 'random_page_cost', 'row_security', 'search_path', 'seq_page_cost',
  'statement_timeout', 'temp_buffers', 'temp_file_limit', 'timezone', 'track_activities', 'track_functions', 'track_io_timing',
  'transaction_timeout', 'vacuum_cost_delay', 'vacuum_cost_limit', 'work_mem', 'xmlbinary', 'xmloption',
]);

export interface ConfigurationOptions {
  readonly socketDirectory: string;
  /** Where sessions come in that cannot write: only for a server with the interposer, which sees to that. */
  readonly readOnlySocketDirectory?: string;
  readonly port: number;
  readonly computeUnits: number;
  readonly projectSettings: Readonly<Record<string, string>>;
  /** False for a server that no safekeeper follows: the one that a template is made with. */
  readonly replicated: boolean;
}

/** Of the launcher's pieces, which have room for 1 GiB with the tables beside the buffers (launcher/spare-memory.c). */
const BUFFERS_IN_SPARE_MEMORY_MB = 512;

/** Whether a server of this size can start in shared memory that is kept for it. */
export function fitsSpareMemory(computeUnits: number): boolean {
  return sizingOf(computeUnits).sharedBuffersMb <= BUFFERS_IN_SPARE_MEMORY_MB;
}

/** `postgresql.auto.conf`, which comes after it: what other compute units change in a server that runs. */
export function resizedConf(computeUnits: number): string {
  return `jit = ${sizingOf(computeUnits).jit ? 'on' : 'off'}\n`;
}

/** The whole of `postgresql.conf`. Throws `Invalid` on a project setting that is unknown or has a control character. */
export function postgresConf(options: ConfigurationOptions): string {
  const { wal_level: walLevel = 'replica', ...project } = options.projectSettings;
  if (walLevel !== 'replica' && walLevel !== 'logical') throw refused('wal_level', 'must be replica or logical');
  for (const [name, value] of Object.entries(project)) {
    if (!PROJECT_SETTINGS.has(name)) throw refused(name, 'is not a setting that a project may change');
    if (/[\u0000-\u001f]/.test(value) || value.length > 1024) throw refused(name, 'has a control character or is longer than 1024');
  }
  const lines = Object.entries({ ...DEFAULTS, ...project, ...owned(options, walLevel) });
  return lines.map(([name, value]) => `${name} = ${quoted(value)}\n`).join('');
}

/** What `pg_control` must say so that PostgreSQL finds nothing changed, and logs nothing, at its start. */
export function controlSettings({ computeUnits, projectSettings }: ConfigurationOptions): ControlSettings {
  return {
    walLevel: projectSettings['wal_level'] === 'logical' ? WalLevel.logical : WalLevel.replica,
    walLogHints: false,
    maxConnections: sizingOf(computeUnits).maxConnections,
    maxWorkerProcesses: WORKER_PROCESSES,
    maxWalSenders: WAL_SENDERS,
    maxPreparedXacts: Number(projectSettings['max_prepared_transactions'] ?? DEFAULTS['max_prepared_transactions']),
    maxLocksPerXact: 64,
    trackCommitTimestamp: false,
  };
}

const WORKER_PROCESSES = 8;
const WAL_SENDERS = 10;

/** A background writer that does as much, in fewer turns: most computes of a node have nothing for it to do. */
const SELDOM_AWAKE: Readonly<Record<string, string>> = {
  bgwriter_delay: '1s',
  bgwriter_lru_maxpages: '500',
};

/** Beneath the project's settings. */
const DEFAULTS: Readonly<Record<string, string>> = {
  timezone: 'UTC',
  log_timezone: 'UTC',
  datestyle: 'iso, mdy',
  default_text_search_config: 'pg_catalog.english',
  lc_messages: 'C',
  lc_monetary: 'C.UTF-8',
  lc_numeric: 'C.UTF-8',
  lc_time: 'C.UTF-8',
  max_prepared_transactions: '64',
};

function owned(options: ConfigurationOptions, walLevel: string): Record<string, string> {
  const sizing = sizingOf(options.computeUnits);
  return {
    listen_addresses: '',
    unix_socket_directories: [options.socketDirectory, options.readOnlySocketDirectory].filter(Boolean).join(','),
    unix_socket_permissions: '0700',
    port: String(options.port),
    max_connections: String(sizing.maxConnections),
    superuser_reserved_connections: '4',
    shared_buffers: `${sizing.sharedBuffersMb}MB`,
    jit: sizing.jit ? 'on' : 'off',
    huge_pages: 'off',
    // Filled at each start, too, and on its way to a file that is written without waiting for a disk.
    wal_buffers: '1MB',
    max_pred_locks_per_transaction: String(sizing.predicateLocks),
    // Where stock goes over to a relation's lock.
    max_pred_locks_per_relation: '32',
    ...SELDOM_AWAKE,
    fsync: 'off',
    full_page_writes: 'off',
    wal_level: walLevel,
    wal_consistency_checking: SHIPPED_AS_IMAGES,
    wal_init_zero: 'off',
    wal_sender_timeout: '0',
    max_wal_senders: String(WAL_SENDERS),
    max_worker_processes: String(WORKER_PROCESSES),
    max_replication_slots: '10',
    max_wal_size: '1GB',
    max_slot_wal_keep_size: '16GB',
    checkpoint_timeout: '15min',
    archive_mode: 'off',
    restart_after_crash: 'off',
    allow_alter_system: 'off',
    synchronous_commit: 'on',
    synchronous_standby_names: options.replicated ? WALPROPOSER_NAME : '',
    logging_collector: 'off',
    log_destination: 'stderr',
    log_line_prefix: '[%p] ',
    log_checkpoints: 'off',
  };
}

function quoted(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

function refused(name: string, why: string): CoppiceError {
  return new CoppiceError('Invalid', 'bad-project-setting', `the project setting ${name} ${why}`, { remedy: 'Change the project settings and start the endpoint again.' });
}
