/**
 * Stand-ins for compute agent, safekeepers and pageserver in tests of the control-plane alone: real gRPC servers on Unix
 * sockets that keep positions as numbers. The real ones are tested with each other end to end.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  type ComputeLimitsRequest,
  type ComputeStatus,
  computeAgentContract,
  type Handlers,
  grpcServer,
  pageserverContract,
  type RunSqlRequest,
  safekeeperContract,
  serve,
  type SqlResult,
  type StartComputeRequest,
} from '@coppice/contracts';
import { CoppiceError, type Part, silentLog, systemClock } from '@coppice/service-kit';
import { testIdentities } from '@coppice/testing';
import { type Lsn, lsn, term, type TimelineId } from '@coppice/vocabulary';

type AgentHandlers = Handlers<(typeof computeAgentContract)['methods']>;

/** End of the template's shutdown checkpoint. */
export const TEMPLATE_LSN = lsn(0x1500000n);
/** A start appends one checkpoint record. */
const CHECKPOINT_BYTES = 120n;
const COMMIT_BYTES = 0x100n;

function noTimeline(): CoppiceError {
  return new CoppiceError('NotFound', 'timeline-not-found', 'no WAL of this timeline');
}

/** What the quorum holds: per timeline its end, and when each commit was made. */
export class TestQuorum {
  readonly ends = new Map<TimelineId, Lsn>();
  /** Logical sizes that the pageserver knows, bytes. */
  readonly sizes = new Map<TimelineId, number>();
  readonly commits = new Map<TimelineId, { lsn: Lsn; micros: bigint }[]>();
  /** Timelines that were deleted, by the socket of the service that was asked. */
  readonly deleted: { readonly by: string; readonly timelineId: TimelineId }[] = [];

  /** Commits a transaction on a timeline; the position is its end. */
  commit(id: TimelineId, micros = 0n): Lsn {
    const end = lsn((this.ends.get(id) ?? TEMPLATE_LSN) + COMMIT_BYTES);
    this.ends.set(id, end);
    this.commits.set(id, [...(this.commits.get(id) ?? []), { lsn: end, micros }]);
    return end;
  }

  safekeeper(address: string): Part {
    const unused = (): never => {
      throw new CoppiceError('Internal', 'unused', 'not used by the control-plane');
    };
    return grpcServer({
      address,
      log: silentLog(),
      security: testIdentities.security('control-plane'),
      services: [
        serve(safekeeperContract, {
          propose: unused,
          readWal: unused,
          watchTimelines: unused,
          getTimelineStatus: async ({ timelineId }) => {
            const end = this.ends.get(timelineId);
            if (end === undefined) throw noTimeline();
            return {
              term: term(1),
              startLsn: lsn(0n),
              flushLsn: end,
              commitLsn: end,
              termHistory: [{ term: term(1), lsn: lsn(0n) }],
              pageserverDurableLsn: end,
            };
          },
          resolveLsn: async ({ timelineId, lsn: asked }) => {
            const end = this.ends.get(timelineId);
            if (end === undefined) throw noTimeline();
            return { lsn: lsn(asked - (asked % COMMIT_BYTES)), commitLsn: end };
          },
          reportPageserver: async () => ({}),
          deleteTimeline: async ({ timelineId }) => {
            this.deleted.push({ by: basename(address), timelineId });
            return {};
          },
          listTimelines: async () => ({ timelines: [], nextCursor: '' }),
        }),
      ],
    });
  }

  pageserver(address: string): Part {
    const unused = (): never => {
      throw new CoppiceError('Internal', 'unused', 'not used by the control-plane');
    };
    const status = (end: Lsn) => ({
      ingestedLsn: end,
      durableLsn: end,
      logicalSizeBytes: 0,
      writtenWalBytes: 0,
      layers: 0,
      ownBytes: 0,
      logicalSizeIsEstimate: false,
    });
    return grpcServer({
      address,
      log: silentLog(),
      security: testIdentities.security('control-plane'),
      services: [
        serve(pageserverContract, {
          getPages: unused,
          getComputeImage: unused,
          getRelations: unused,
          importTimeline: unused,
          listTimelines: unused,
          deleteTimeline: async ({ timelineId }) => {
            this.deleted.push({ by: basename(address), timelineId });
            return { removedObjects: 0, removedBytes: 0 };
          },
          getTimelineSizes: async ({ timelineIds }) => ({
            sizes: timelineIds.map((timelineId) => ({
              timelineId,
              state: this.sizes.has(timelineId) ? ('known' as const) : ('unknown' as const),
              ingestedLsn: this.ends.get(timelineId) ?? TEMPLATE_LSN,
              logicalSizeBytes: this.sizes.get(timelineId) ?? 0,
              logicalSizeIsEstimate: false,
              ownBytes: 0,
              writtenWalBytes: 0,
              growthBytes: 0,
            })),
          }),
          sweepOrphanedObjects: unused,
          getTimelineStatus: async ({ timelineId }) => status(this.ends.get(timelineId) ?? TEMPLATE_LSN),
          waitForLsn: async ({ lsn: end }) => status(end),
          lsnAtTime: async ({ timelineId, unixMicros, upToLsn }) => {
            const found = (this.commits.get(timelineId) ?? [])
              .filter((c) => c.micros <= unixMicros && c.lsn <= (upToLsn ?? c.lsn))
              .at(-1);
            if (!found) throw new CoppiceError('NotFound', 'before-first-commit', 'no commit so early');
            return { lsn: found.lsn, commitUnixMicros: found.micros };
          },
        }),
      ],
    });
  }
}

/** An agent whose computes are entries of a map. */
export class TestAgent {
  readonly nodeId: string;
  readonly address: string;
  incarnation = 'i1';
  readonly computes = new Map<string, ComputeStatus>();
  readonly starts: StartComputeRequest[] = [];
  readonly stops: string[] = [];
  readonly limits: ComputeLimitsRequest[] = [];
  templatesBuilt = 0;
  /** Thrown by the next starts, one each. */
  readonly failures: CoppiceError[] = [];
  /** The same for limits of computes that run. */
  readonly limitFailures: CoppiceError[] = [];
  /** What the next looks at a compute fail with. */
  readonly lookFailures: Error[] = [];
  startDelayMs = 5;
  /** Starts under way, now and at most. */
  starting = { now: 0, most: 0 };
  /** When computes were last used, of those that are looked at. */
  readonly lastUsed = new Map<string, number>();
  /** Awaited by stops before they stop anything. */
  beforeStop: (computeId: string) => Promise<void> = () => Promise.resolve();
  /** Answers SQL: there is no Postgres unless a test brings one. */
  sql: (request: RunSqlRequest) => Promise<SqlResult[]> = () =>
    Promise.reject(new CoppiceError('Unavailable', 'no-postgres', 'this agent runs no Postgres'));
  readonly #quorum: TestQuorum;
  #part: Part | undefined;

  constructor(nodeId: string, address: string, quorum: TestQuorum) {
    this.nodeId = nodeId;
    this.address = address;
    this.#quorum = quorum;
  }

  async serve(): Promise<void> {
    const handlers: AgentHandlers = {
      startCompute: (request) => this.#start(request),
      stopCompute: async ({ computeId, immediate }) => {
        const compute = await this.#get(computeId);
        await this.beforeStop(computeId);
        this.stops.push(computeId);
        if (!immediate) this.#quorum.commit(compute.timelineId);
        this.computes.delete(computeId);
        return {
          ...compute,
          state: 'stopped',
          commitLsn: this.#quorum.ends.get(compute.timelineId) ?? compute.commitLsn,
        };
      },
      getCompute: async ({ computeId }) => {
        const failure = this.lookFailures.shift();
        if (failure) throw failure;
        return { ...(await this.#get(computeId)), lastActiveUnixMs: this.lastUsed.get(computeId) ?? 0 };
      },
      listComputes: async () => ({ computes: [...this.computes.values()] }),
      runSql: async (request) => {
        await this.#get(request.computeId);
        return { results: await this.sql(request) };
      },
      setComputeLimits: async (request) => {
        const failure = this.limitFailures.shift();
        if (failure) throw failure;
        this.limits.push(request);
        const compute = await this.#get(request.computeId);
        const { computeUnits: maxUnits, minComputeUnits: minUnits = maxUnits } = request;
        const size = { units: minUnits, minUnits, maxUnits, unitSeconds: compute.size?.unitSeconds ?? 0 };
        this.computes.set(request.computeId, maxUnits > 0 ? { ...compute, size } : compute);
        return compute;
      },
      buildTemplate: async () => {
        this.templatesBuilt += 1;
        return { lsn: TEMPLATE_LSN, systemIdentifier: 7_000_000_000_000_000_001n };
      },
    };
    this.#part = grpcServer({
      address: this.address,
      log: silentLog(),
      security: testIdentities.security('control-plane'),
      services: [serve(computeAgentContract, handlers)],
    });
    await this.#part.start();
  }

  async stop(): Promise<void> {
    await this.#part?.stop();
    this.#part = undefined;
  }

  async #start(request: StartComputeRequest): Promise<ComputeStatus> {
    this.starts.push(request);
    this.starting.now += 1;
    this.starting.most = Math.max(this.starting.most, this.starting.now);
    await systemClock.sleep(this.startDelayMs).finally(() => (this.starting.now -= 1));
    const failure = this.failures.shift();
    if (failure) throw failure;
    const start = this.#quorum.ends.get(request.timelineId) ?? request.timelineStartLsn;
    const end = lsn(start + CHECKPOINT_BYTES);
    this.#quorum.ends.set(request.timelineId, end);
    const compute: ComputeStatus = {
      computeId: request.computeId,
      endpointId: request.endpointId,
      timelineId: request.timelineId,
      state: 'running',
      socketDirectory: '/run/x',
      port: 5432,
      startLsn: start,
      commitLsn: end,
      lastActiveUnixMs: 0,
      term: term(request.fencingToken),
      failure: '',
      phases: [],
      dataDirectory: '',
      ...sizeAtStart(request),
    };
    this.computes.set(request.computeId, compute);
    return compute;
  }

  async #get(id: string): Promise<ComputeStatus> {
    const compute = this.computes.get(id);
    if (!compute) throw new CoppiceError('NotFound', 'compute-not-found', `no compute ${id}`);
    return { ...compute, commitLsn: this.#quorum.ends.get(compute.timelineId) ?? compute.commitLsn };
  }
}

function sizeAtStart({ computeUnits, minComputeUnits }: StartComputeRequest): Pick<ComputeStatus, 'size'> {
  if (computeUnits === 0) return {};
  const minUnits = minComputeUnits ?? computeUnits;
  return { size: { units: minUnits, minUnits, maxUnits: computeUnits, unitSeconds: 0 } };
}

/** A private directory for sockets; `remove` ends it. */
export async function socketDirectory(): Promise<{
  path: (name: string) => string;
  remove: () => Promise<void>;
}> {
  const directory = await mkdtemp(join(tmpdir(), 'ccp-'));
  return {
    path: (name) => `unix:${join(directory, name)}`,
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}
