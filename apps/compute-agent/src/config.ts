import { SECURITY_CONFIG } from '@coppice/contracts';
import { configTable, CoppiceError, metricsConfig } from '@coppice/service-kit';
import { type NodeId, parseNodeId } from '@coppice/vocabulary';

export const AGENT_CONFIG = configTable({
  node: { env: 'COPPICE_AGENT_NODE', type: 'string', default: 'agent-1', about: 'Name of this agent among all.' },
  address: { env: 'COPPICE_AGENT_ADDRESS', type: 'string', about: 'Where the agent listens, unix:/path or host:port.' },
  runDirectory: { env: 'COPPICE_AGENT_RUN_DIRECTORY', type: 'string', about: 'Directory of the computes; every directory above it must let other users pass, and its path should be short.' },
  pageserver: { env: 'COPPICE_PAGESERVER_ADDRESS', type: 'string', about: 'Address of the pageserver.' },
  control: { env: 'COPPICE_CONTROL_ADDRESS', type: 'string', about: 'Address of the control-plane.' },
  safekeepers: { env: 'COPPICE_SAFEKEEPERS', type: 'list', about: 'Safekeepers as id=address, comma-separated.' },
  postgresBin: { env: 'COPPICE_PG_BIN', type: 'string', default: '', about: 'The bin directory of a PostgreSQL 17; empty: that of the installed npm package.' },
  initdbUid: { env: 'COPPICE_POSTGRES_UID', type: 'integer', default: 65534, about: 'User that runs initdb when the agent is root; it must be in the user database.' },
  initdbGid: { env: 'COPPICE_POSTGRES_GID', type: 'integer', default: 65534, about: 'Group of that user.' },
  firstComputeUid: { env: 'COPPICE_COMPUTE_FIRST_UID', type: 'integer', default: 210_000, min: 1000, about: 'First of the user ids that computes get, one each, when the agent is root.' },
  maxComputes: { env: 'COPPICE_AGENT_MAX_COMPUTES', type: 'integer', default: 200, min: 1, max: 50_000, about: 'Most computes that run at once.' },
  memoryBytes: { env: 'COPPICE_AGENT_MEMORY_BYTES', type: 'integer', default: 0, about: 'Memory that computes take together at most, bytes; 0: 70 % of what the machine or the cgroup has.' },
  hugePages: { env: 'COPPICE_AGENT_HUGE_PAGES', type: 'boolean', default: true, about: 'An agent that is root lets the kernel of its node give huge pages to shared memory that asks for them, as that of computes does, where the kernel gives none.' },
  spareMemories: { env: 'COPPICE_AGENT_SPARE_MEMORIES', type: 'integer', default: 100, max: 4_096, about: 'Pieces of shared memory, 32 MB each at most, that are kept for computes to start with at most; together a tenth of the memory at most, and less where that runs short. 0: computes get theirs from the kernel.' },
  startsAtOnce: { env: 'COPPICE_AGENT_STARTS_AT_ONCE', type: 'integer', default: 0, max: 1_000, about: 'Computes that start at once; more wait. 0: by the number of CPUs.' },
  warmSets: { env: 'COPPICE_AGENT_WARM_SETS', type: 'string', default: '', about: 'File that keeps, over restarts, which pages starts want; empty: one in the directory of the computes.' },
  maxPageserverLagBytes: { env: 'COPPICE_MAX_PAGESERVER_LAG_BYTES', type: 'integer', default: 64 * 1024 * 1024, about: 'WAL that may be acknowledged beyond what the pageserver has ingested, bytes.' },
  startDeadlineMs: { env: 'COPPICE_COMPUTE_START_DEADLINE_MS', type: 'integer', default: 50_000, about: 'Time for the start of a compute, milliseconds.' },
  suspendDeadlineMs: { env: 'COPPICE_COMPUTE_SUSPEND_DEADLINE_MS', type: 'integer', default: 25_000, about: 'Time for a suspend before the compute is ended the hard way, milliseconds.' },
  drainMs: { env: 'COPPICE_COMPUTE_DRAIN_MS', type: 'integer', default: 2_000, max: 20_000, about: 'For how long a suspend lets transactions come to their end before it ends them, milliseconds.' },
  activityEveryMs: { env: 'COPPICE_ACTIVITY_EVERY_MS', type: 'integer', default: 5_000, min: 100, about: 'Time between two looks at whether a compute is used, milliseconds; where they see nothing they become four times as rare.' },
  group: { env: 'COPPICE_AGENT_CGROUP', type: 'string', default: '', about: 'Control group below which computes get theirs, a path such as /coppice; empty: the one of the agent itself; none: sizes are not enforced.' },
  lookEveryMs: { env: 'COPPICE_SCALING_LOOK_EVERY_MS', type: 'integer', default: 500, min: 100, max: 900, about: 'Time between two looks at what a compute uses, milliseconds; one that does nothing is looked at half as often.' },
  downAfterMs: { env: 'COPPICE_SCALING_DOWN_AFTER_MS', type: 'integer', default: 30_000, min: 1_000, about: 'For how long less must have done before a compute gets a smaller size, milliseconds.' },
  freeStartMs: { env: 'COPPICE_SCALING_FREE_START_MS', type: 'integer', default: 3_000, about: 'Time after a start in which the size of a compute is not enforced, milliseconds.' },
  heartbeatEveryMs: { env: 'COPPICE_HEARTBEAT_EVERY_MS', type: 'integer', default: 2_000, min: 100, about: 'Time between two reports to the control-plane, milliseconds.' },
  ...metricsConfig(7443),
  ...SECURITY_CONFIG,
});

/** Starts at once that a machine does well with: each is bound by the CPU most of the time, and waits for others a part of it. */
export function startsFor(cpus: number): number {
  return cpus + 1;
}

/** Reads `sk1=unix:/run/sk1,…`. Throws `Malformed` on anything else. */
export function safekeeperAddresses(list: readonly string[]): { readonly node: NodeId; readonly address: string }[] {
  const parsed = list.map((text) => {
    const at = text.indexOf('=');
    const node = parseNodeId(text.slice(0, Math.max(0, at)));
    const address = text.slice(at + 1);
    if (!node || address === '') throw new CoppiceError('Malformed', 'bad-configuration', `COPPICE_SAFEKEEPERS has "${text}", wanted id=address`);
    return { node, address };
  });
  if (parsed.length === 0) throw new CoppiceError('Malformed', 'bad-configuration', 'COPPICE_SAFEKEEPERS names no safekeeper');
  return parsed;
}
