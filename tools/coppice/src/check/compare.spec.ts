import type { ComputeStatus, LiveCompute, QuotaCounters, TimelineRecord } from '@coppice/contracts';
import { lsn, term, type TimelineId } from '@coppice/vocabulary';
import {
  compareComputes,
  compareCounters,
  type ComputesSeen,
  compareTimelines,
  directoryName,
  type TimelineRange,
} from './compare';
import { type ComparedKind, MEANINGS } from './difference';

const A = 'a'.repeat(32) as TimelineId;
const B = 'b'.repeat(32) as TimelineId;
const TEMPLATE = '0'.repeat(32) as TimelineId;

const record = (timelineId: TimelineId, change: Partial<TimelineRecord> = {}): TimelineRecord => ({
  timelineId,
  projectId: 'p',
  ancestorLsn: lsn(16n),
  headLsn: lsn(48n),
  isTemplate: false,
  isGoing: false,
  ...change,
});
const template = record(TEMPLATE, { projectId: '', ancestorLsn: undefined, isTemplate: true });
const held = (timelineId: TimelineId, to = 48n) => ({
  timelineId,
  deleted: false,
  startLsn: lsn(16n),
  flushLsn: lsn(to),
  commitLsn: lsn(to),
});
const tombstone = (timelineId: TimelineId) => ({ ...held(timelineId, 0n), deleted: true });
const ON_THREE = ['sk1', 'sk2', 'sk3'].map((name) => ({ name, timelines: [held(A)] }));
const PAGESERVER = { name: 'pageserver', ids: [TEMPLATE, A], deleted: [], unreadable: [] };
/** A template and a timeline that wrote, where they belong. */
const WHOLE: TimelineRange = {
  records: [template, record(A)],
  safekeepers: ON_THREE,
  pageserver: PAGESERVER,
};

const status = (computeId: string, change: Partial<ComputeStatus> = {}): ComputeStatus => ({
  computeId,
  endpointId: 'ep',
  timelineId: A,
  state: 'running',
  socketDirectory: `/run/c/${directoryName(computeId)}/s`,
  port: 5432,
  startLsn: lsn(16n),
  commitLsn: lsn(48n),
  lastActiveUnixMs: 0,
  term: term(1),
  failure: '',
  phases: [],
  dataDirectory: '',
  ...change,
});
const row = (computeId: string, change: Partial<LiveCompute> = {}): LiveCompute => ({
  computeId,
  endpointId: 'ep',
  projectId: 'p',
  branchId: 'br',
  timelineId: A,
  nodeId: 'n',
  state: 'running',
  ...change,
});
const onMachine = (computeId: string) => {
  const directory = `/run/c/${directoryName(computeId)}`;
  return [{ directory }, { directory, pid: 7 }];
};
/** One compute that runs as it should. */
const RUNS: ComputesSeen = {
  rows: [row('c1')],
  agents: [{ nodeId: 'n', computes: [status('c1')] }],
  machine: onMachine('c1'),
};

const counts = (projects: number, branches: number, computes: number) => ({ projects, branches, computes });
const counted = (change: Partial<QuotaCounters> = {}): QuotaCounters => ({
  agentId: 'agent',
  has: counts(1, 4, 2),
  toGiveBack: counts(0, 0, 0),
  counted: counts(1, 4, 2),
  ...change,
});

const said = (found: readonly { kind: string; where: string; id: string }[]): string[] =>
  found.map((d) => `${d.kind} ${d.where} ${d.id}`).sort();
const timelines = (change: Partial<TimelineRange>): string[] =>
  said(compareTimelines({ ...WHOLE, ...change }));
const computes = (change: Partial<ComputesSeen>): string[] => said(compareComputes({ ...RUNS, ...change }));

/** How each kind comes about that is found by comparing. */
const CASES: Readonly<Partial<Record<ComparedKind, () => string[]>>> = {
  'timeline-unknown': () => timelines({ records: [template] }),
  'timeline-lost': () =>
    timelines({ safekeepers: [...ON_THREE.slice(1), { name: 'sk1', timelines: [tombstone(A)] }] }),
  'timeline-unreadable': () => timelines({ pageserver: { ...PAGESERVER, unreadable: [A] } }),
  'wal-missing': () => timelines({ records: [template, record(A, { headLsn: lsn(49n) })] }),
  'template-missing': () => timelines({ pageserver: { ...PAGESERVER, ids: [A] } }),
  'compute-unwanted': () => computes({ rows: [] }),
  'compute-missing': () => computes({ agents: [{ nodeId: 'n', computes: [] }], machine: [] }),
  'compute-elsewhere': () => computes({ rows: [row('c1', { timelineId: B })] }),
  'process-unwanted': () =>
    computes({ machine: [...RUNS.machine!, { directory: '/run/c/abcdefabcdef', pid: 9 }] }),
  'process-missing': () => computes({ machine: RUNS.machine!.filter((m) => m.pid === undefined) }),
  'directory-unwanted': () => computes({ machine: [...RUNS.machine!, { directory: '/run/c/abcdefabcdef' }] }),
  'counter-off': () => said(compareCounters([counted({ counted: counts(1, 5, 2) })])),
};

describe('what is as it should be', () => {
  it('differs in nothing', () => {
    expect([compareTimelines(WHOLE), compareComputes(RUNS), compareCounters([counted()])]).toEqual([
      [],
      [],
      [],
    ]);
  });

  it('may be nowhere when it never wrote, or while it goes', () => {
    const never = record(B, { headLsn: lsn(16n) });
    const going = record(A, { isGoing: true });
    expect(timelines({ records: [template, record(A), never] })).toEqual([]);
    expect(
      timelines({
        records: [template, going],
        safekeepers: ON_THREE.map((s, n) => ({ ...s, timelines: n === 0 ? [held(A)] : [tombstone(A)] })),
        pageserver: { ...PAGESERVER, ids: [TEMPLATE], deleted: [A] },
      }),
    ).toEqual([]);
  });

  it('may be a tombstone of what the metadata has forgotten', () => {
    expect(
      timelines({ safekeepers: ON_THREE.map((s) => ({ ...s, timelines: [...s.timelines, tombstone(B)] })) }),
    ).toEqual([]);
  });

  it('is WAL that a quorum holds, the third being behind', () => {
    const [one, two, three] = ON_THREE;
    expect(timelines({ safekeepers: [one!, two!, { ...three!, timelines: [held(A, 20n)] }] })).toEqual([]);
    expect(
      timelines({
        safekeepers: [one!, { ...two!, timelines: [] }, { ...three!, timelines: [held(A, 20n)] }],
      }),
    ).toEqual([`wal-missing safekeepers ${A}`]);
  });

  it('is a compute that starts or stops, whether its agent knows it or not, and one whose agent cannot be asked', () => {
    const none = [{ nodeId: 'n', computes: [] }];
    for (const state of ['starting', 'stopping'])
      expect(computes({ rows: [row('c1', { state })], agents: none, machine: [] })).toEqual([]);
    expect(computes({ agents: [], machine: [] })).toEqual([]);
    expect(
      computes({ agents: [{ nodeId: 'n', computes: [status('c1'), status('c0', { state: 'stopped' })] }] }),
    ).toEqual([]);
  });

  it('is a counter from which something is still to be taken, or none', () => {
    expect(compareCounters([counted({ counted: counts(1, 6, 3), toGiveBack: counts(0, 2, 1) })])).toEqual([]);
    expect(compareCounters([counted({ counted: undefined })])).toEqual([]);
  });
});

describe('each kind of difference', () => {
  it.each(Object.entries(CASES))('%s is found, and nothing else', (kind, found) => {
    const kinds = new Set(found().map((d) => d.split(' ')[0]));
    expect([...kinds]).toEqual([kind]);
  });

  it('has a case here, but for those that services tell themselves', () => {
    expect(Object.keys(MEANINGS).filter((k) => !(k in CASES))).toEqual(['object-orphaned', 'no-answer']);
  });

  it('names who holds what', () => {
    expect(timelines({ records: [template] })).toEqual(
      ['pageserver', 'sk1', 'sk2', 'sk3'].map((where) => `timeline-unknown ${where} ${A}`),
    );
    expect(compareCounters([counted({ counted: counts(1, 5, 2) })])[0]!.detail).toBe(
      '5 branches are counted, it has 4',
    );
  });
});
