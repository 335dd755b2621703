/**
 * The comparison of what services hold. Pure. What is on its way from one to the other is a difference too: whether it stays is
 * for `sightings.ts` to say.
 */
import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import type {
  ComputeStatus,
  ListedTimeline,
  LiveCompute,
  QuotaCounters,
  TimelineRecord,
} from '@coppice/contracts';
import { type Difference, difference } from './difference';

/** All that is known of the timelines of a range of ids. */
export interface TimelineRange {
  readonly records: readonly TimelineRecord[];
  readonly safekeepers: readonly { readonly name: string; readonly timelines: readonly ListedTimeline[] }[];
  readonly pageserver: {
    readonly name: string;
    readonly ids: readonly string[];
    /** Of the records, those of which it says so. */
    readonly deleted: readonly string[];
    readonly unreadable: readonly string[];
  };
}

export function compareTimelines({ records, safekeepers, pageserver }: TimelineRange): Difference[] {
  const found: Difference[] = [];
  const known = new Map<string, TimelineRecord>(records.map((r) => [r.timelineId, r]));
  const lost = (where: string, record: TimelineRecord | undefined): void => {
    if (record && !record.isGoing)
      found.push(difference('timeline-lost', where, record.timelineId, 'it has a tombstone there', record));
  };
  for (const { name, timelines } of safekeepers)
    for (const { timelineId, deleted, startLsn, flushLsn } of timelines) {
      const record = known.get(timelineId);
      if (deleted) lost(name, record);
      else if (!record)
        found.push(
          difference(
            'timeline-unknown',
            name,
            timelineId,
            `it has WAL there from ${startLsn} to ${flushLsn}`,
          ),
        );
    }
  const stored = new Set<string>(pageserver.ids);
  for (const id of stored)
    if (!known.has(id))
      found.push(difference('timeline-unknown', pageserver.name, id, 'it has objects or memory there'));
  for (const id of pageserver.deleted) lost(pageserver.name, known.get(id));
  for (const id of pageserver.unreadable)
    found.push(difference('timeline-unreadable', pageserver.name, id, 'see its log', known.get(id)));
  for (const record of records) {
    if (record.isTemplate && !stored.has(record.timelineId))
      found.push(difference('template-missing', pageserver.name, record.timelineId, 'it has nothing of it'));
  }
  for (const { record, holders } of shortOfQuorum(records, safekeepers))
    found.push(
      difference(
        'wal-missing',
        'safekeepers',
        record.timelineId,
        `${holders} of ${safekeepers.length} hold its WAL up to ${record.headLsn}`,
        record,
      ),
    );
  return found;
}

/** Timelines whose acknowledged end is known, and listed by fewer safekeepers than a quorum. */
export function shortOfQuorum(
  records: readonly TimelineRecord[],
  safekeepers: TimelineRange['safekeepers'],
): { readonly record: TimelineRecord; readonly holders: number }[] {
  const flushed = safekeepers.map(
    ({ timelines }) => new Map<string, bigint>(timelines.map((t) => [t.timelineId, t.flushLsn])),
  );
  const quorum = Math.floor(safekeepers.length / 2) + 1;
  return records.flatMap((record) => {
    const { headLsn, ancestorLsn, isGoing } = record;
    // What has nothing of its own is nowhere.
    if (isGoing || headLsn === undefined || ancestorLsn === undefined || headLsn <= ancestorLsn) return [];
    const holders = flushed.filter((of) => (of.get(record.timelineId) ?? 0n) >= headLsn).length;
    return holders < quorum ? [{ record, holders }] : [];
  });
}

/** A Postgres server of a compute, or a directory of one, as the machine shows it. */
export interface ComputeOnMachine {
  readonly directory: string;
  /** Absent for a directory alone. */
  readonly pid?: number;
}

export interface ComputesSeen {
  readonly rows: readonly LiveCompute[];
  readonly agents: readonly { readonly nodeId: string; readonly computes: readonly ComputeStatus[] }[];
  /** Absent when this is not the machine that they run on. */
  readonly machine?: readonly ComputeOnMachine[];
}

const LIVE_STATES: readonly string[] = ['preparing', 'running', 'stopping'];

export function compareComputes({ rows, agents, machine }: ComputesSeen): Difference[] {
  const found: Difference[] = [];
  const live = agents.flatMap(({ nodeId, computes }) =>
    computes.filter((c) => LIVE_STATES.includes(c.state)).map((status) => ({ nodeId, status })),
  );
  const byId = new Map(live.map((c) => [`${c.nodeId}/${c.status.computeId}`, c.status]));
  const wanted = new Set(rows.map((r) => `${r.nodeId}/${r.computeId}`));
  for (const { nodeId, status } of live)
    if (!wanted.has(`${nodeId}/${status.computeId}`))
      found.push(
        difference(
          'compute-unwanted',
          nodeId,
          status.computeId,
          `${status.state} for endpoint ${status.endpointId}`,
        ),
      );
  const asked = new Set(agents.map((a) => a.nodeId));
  for (const row of rows) {
    const status = byId.get(`${row.nodeId}/${row.computeId}`);
    // A start may not have reached the agent yet, a stop may have ended there already.
    if (!status && row.state === 'running' && asked.has(row.nodeId))
      found.push(
        difference(
          'compute-missing',
          row.nodeId,
          row.computeId,
          `running for endpoint ${row.endpointId}, says the metadata`,
          row,
        ),
      );
    if (status && status.timelineId !== row.timelineId)
      found.push(
        difference(
          'compute-elsewhere',
          row.nodeId,
          row.computeId,
          `on ${status.timelineId}, the metadata says ${row.timelineId}`,
          row,
        ),
      );
  }
  if (machine)
    found.push(
      ...compareMachine(
        live.map((c) => c.status),
        machine,
      ),
    );
  return found;
}

function compareMachine(live: readonly ComputeStatus[], machine: readonly ComputeOnMachine[]): Difference[] {
  const found: Difference[] = [];
  const expected = new Set(live.map((s) => directoryName(s.computeId)));
  const running = new Set(machine.filter((m) => m.pid !== undefined).map((m) => basename(m.directory)));
  for (const { directory, pid } of machine) {
    if (expected.has(basename(directory))) continue;
    if (pid === undefined)
      found.push(difference('directory-unwanted', 'machine', directory, 'no compute uses it'));
    else found.push(difference('process-unwanted', 'machine', String(pid), `in ${directory}`));
  }
  const here = new Set(machine.map((m) => dirname(m.directory)));
  for (const s of live) {
    const isHere = s.socketDirectory !== '' && here.has(dirname(dirname(s.socketDirectory)));
    if (s.state === 'running' && isHere && !running.has(directoryName(s.computeId)))
      found.push(difference('process-missing', 'machine', s.computeId, `for endpoint ${s.endpointId}`));
  }
  return found;
}

/** How an agent names a compute's directory. */
export function directoryName(computeId: string): string {
  return createHash('sha256').update(computeId).digest('hex').slice(0, 12);
}

const COUNTED = ['projects', 'branches', 'computes'] as const;

/** Counters against what agents have; without counters nothing is wrong, the next reservation takes them. */
export function compareCounters(agents: readonly QuotaCounters[]): Difference[] {
  return agents.flatMap(({ agentId, has, toGiveBack, counted }) => {
    if (!counted) return [];
    const off = COUNTED.filter((of) => counted[of] - toGiveBack[of] !== has[of]);
    if (off.length === 0) return [];
    const detail = off
      .map((of) => `${counted[of] - toGiveBack[of]} ${of} are counted, it has ${has[of]}`)
      .join('; ');
    return [difference('counter-off', 'counters', agentId, detail)];
  });
}
