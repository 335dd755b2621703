/**
 * Starts a compute at the end of its timeline's committed WAL:
 *
 *   elect ──► S ─────────────────────┐
 *   image at the S that is expected ─┴► image at S ──► data directory ──► page source ──► postgres ──► replication ──► set-up
 *
 * The image that was asked for ahead of the election is used only if the election gives its position. Whatever was made is
 * undone when a step fails; nothing of it is needed for the next try.
 */
import { rmSync } from 'node:fs';
import { basename } from 'node:path';
import { anySignal, asCoppiceError, CoppiceError } from '@coppice/service-kit';
import type { StartComputeRequest } from '@coppice/contracts';
import { pgMicrosFromUnixMillis } from '@coppice/postgres';
import { BLOCK_SIZE, formatLsn, type Lsn, type PageKey } from '@coppice/vocabulary';
import { PageSource } from '../page-source/page-source';
import { RelationFiles } from '../page-source/relation-files';
import type { StateFile } from '../page-source/state-file';
import { PagesStream } from '../pageserver/pages-stream';
import { relationsAtStart } from '../pageserver/relations-at-start';
import { FirstLook } from '../pageserver/first-look';
import { Lesson } from '../pageserver/lesson';
import { PostgresProcess } from '../postgres/postgres-process';
import { collectImage, type ComputeImage } from '../prepare/compute-image';
import { prepareDataDirectory } from '../prepare/data-directory';
import { ADMIN_ROLE, fitsSpareMemory, WALPROPOSER_NAME } from '../prepare/settings';
import { BackPressure } from '../wal/back-pressure';
import { electWalproposer } from '../wal/elect';
import { grpcSafekeeper } from '../wal/grpc-safekeeper';
import { replicate } from '../wal/replicate';
import { Walproposer } from '../wal/walproposer';
import { computeDirectory, SOCKET_PORT } from './compute-directory';
import type { ComputeServices } from './compute-services';
import { PhaseTimer } from './phase-timer';
import { runSetup } from './run-setup';
import { RunningCompute } from './running-compute';

const PG_VERSION = 17;

export async function startCompute(request: StartComputeRequest, services: ComputeServices, signal: AbortSignal): Promise<RunningCompute> {
  const { clock } = services;
  const log = services.log.child({ compute: request.computeId, endpoint: request.endpointId, timeline: request.timelineId });
  const timer = new PhaseTimer(clock);
  const directory = computeDirectory(services.computesDirectory, request.computeId);
  const undo: (() => Promise<void> | void)[] = [];
  const pageserver = services.pageserver.as(request.timelineToken);
  const pages = new PagesStream({ pageserver, clock, log });
  undo.push(() => pages.close());
  try {
    const expected = expectedImage(request, services, signal);
    undo.push(() => expected.cancel());
    const wal = await elect(request, services, log, signal);
    undo.push(() => wal.walproposer.abort(), () => wal.pressure.stop());
    const { startLsn } = wal.leadership;
    timer.done('elect');

    const image = await (expected.at(startLsn) ?? askImage(request, services, startLsn, signal));
    if (image.systemIdentifier !== request.systemIdentifier) {
      throw new CoppiceError('Corrupt', 'wrong-system', `the image is of system ${image.systemIdentifier}, asked for was ${request.systemIdentifier}`);
    }
    timer.done('image');

    const user = services.users.take();
    undo.push(() => services.users.give(user));
    rmSync(directory.root, { recursive: true, force: true });
    undo.push(() => rmSync(directory.root, { recursive: true, force: true }));
    const state = await prepareDataDirectory({
      image,
      directory,
      user,
      random: services.random,
      nowSeconds: BigInt(Math.floor(clock.now() / 1000)),
      configuration: {
        socketDirectory: directory.sockets,
        readOnlySocketDirectory: directory.readOnlySockets,
        port: SOCKET_PORT,
        computeUnits: request.computeUnits,
        projectSettings: request.settings,
        replicated: true,
      },
      storageLimitBytes: request.storageLimitBytes,
      signal,
    });
    undo.push(() => state.close());
    await knowSize(image, state, request, services, signal);
    const at = { timeline: request.timelineId, lsn: startLsn };
    const learner = { lineage: image.systemIdentifier, timeline: request.timelineId, state };
    // Keys alone: the image with its pages is needed no more once it is laid out, and its compute may run for days.
    const lesson = new Lesson({ ...learner, warm: services.warm, given: image.warmPages.map(({ key }) => key) });
    undo.push(() => lesson.drop());
    const learn = (keys: readonly PageKey[]): void => {
      lesson.learn(keys);
      firstLook.learn(keys);
    };
    const relations = new RelationFiles({
      state,
      dataDirectory: directory.data,
      owner: user,
      databases: new Set(image.databases.map(({ database }) => database)),
      provider: relationsAtStart({ pageserver, timelineId: request.timelineId, lsn: startLsn, clock, log }),
      onLookUp: (key) => learn([key]),
      log,
    });
    const firstLook = new FirstLook({
      ...learner,
      warm: services.looks,
      askImage: (wanted, cancel) => askPages(request, services, startLsn, wanted, cancel),
      relations,
      log,
    });
    const pageSource = new PageSource({
      state,
      provider: {
        getPages: (keys, cancel) => {
          learn(keys);
          return pages.getPages(at, keys, cancel);
        },
      },
      relations,
      log,
      clock,
      ...(user && { owner: user }),
    });
    await pageSource.start();
    undo.push(() => pageSource.stop());
    timer.done('prepare');

    const group = services.resources.group(basename(directory.root));
    undo.push(() => group.discard());
    const postgres = await PostgresProcess.start({
      executable: `${services.installation.binDirectory}/postgres`,
      dataDirectory: directory.data,
      user,
      env: {
        LD_PRELOAD: services.interposer,
        COPPICE_STATE: directory.state,
        COPPICE_AGENT_PID: String(process.pid),
        ...(fitsSpareMemory(request.computeUnits) && { COPPICE_SHARED_MEMORY: '' }),
      },
      launch: services.launch,
      clock,
      log,
    });
    undo.push(async () => {
      postgres.kill();
      await postgres.exited;
    });
    // While it starts: a move between groups waits for the kernel, and PostgreSQL has better things to do than to wait for that.
    const placed = postgres.pid === undefined ? undefined : group.add(postgres.pid);
    placed?.catch(() => undefined);
    await Promise.race([postgres.ready(signal), wal.walproposer.deposed]);
    timer.done('postgres');

    const target = {
      socketPath: directory.postgresSocket,
      user: ADMIN_ROLE,
      applicationName: WALPROPOSER_NAME,
      micros: () => pgMicrosFromUnixMillis(clock.now()),
    };
    const replication = await replicate({ target, walproposer: wal.walproposer, at: startLsn, systemIdentifier: request.systemIdentifier }, signal);
    wal.replication = replication;
    replication.acknowledge(wal.pressure.allowed);
    timer.done('ready');

    if (request.setupSql.length > 0) {
      await Promise.race([runSetup(request.setupSql, directory.sockets, signal), wal.walproposer.deposed]);
      timer.done('setup');
    }
    await placed;
    timer.observe();
    log.info({ startLsn: formatLsn(startLsn), term: wal.leadership.term, phases: timer.phases }, 'compute runs');
    return new RunningCompute({
      request, services, log, directory, user, state, lesson, firstLook, pages, pageSource, postgres, group, replication,
      walproposer: wal.walproposer, pressure: wal.pressure, startLsn, term: wal.leadership.term, phases: timer.phases,
    });
  } catch (error) {
    for (const step of undo.reverse()) {
      try {
        await step();
      } catch (second) {
        log.warn({ err: second }, 'cleaning up after a failed start fails');
      }
    }
    throw asCoppiceError(error);
  }
}

function askImage(request: StartComputeRequest, services: ComputeServices, lsn: Lsn, signal: AbortSignal): Promise<ComputeImage> {
  return askPages(request, services, lsn, services.warm.keysFor(request.systemIdentifier, request.timelineId), signal);
}

/** The image with the pages and relations that are wanted, as far as there are such. */
function askPages({ timelineId, timelineToken }: StartComputeRequest, services: ComputeServices, lsn: Lsn, wanted: readonly PageKey[], signal: AbortSignal): Promise<ComputeImage> {
  return collectImage(services.pageserver.as(timelineToken).getComputeImage({ timelineId, lsn, wanted, allRelations: false }, { signal }), lsn);
}

interface ExpectedImage {
  /** The image, if `lsn` is what was expected. */
  at(lsn: Lsn): Promise<ComputeImage> | undefined;
  cancel(): void;
}

/** The image at the position where the WAL is expected to end, on its way while the election finds out where it does. */
function expectedImage(request: StartComputeRequest, services: ComputeServices, signal: AbortSignal): ExpectedImage {
  const { expectedLsn } = request;
  const cancel = new AbortController();
  const image = expectedLsn === undefined ? undefined : askImage(request, services, expectedLsn, anySignal([signal, cancel.signal]));
  // Who waits for it hears why it does not come; nobody may.
  image?.catch(() => undefined);
  return {
    at: (lsn) => {
      if (lsn === expectedLsn) return image;
      cancel.abort();
      return undefined;
    },
    cancel: () => cancel.abort(),
  };
}

/**
 * How much the branch holds, where the pageserver must look through all relations for it: the first start of some forks.
 * Only a limit is worth waiting for that; else it is found out beside the start, and given up with the compute.
 */
async function knowSize(image: ComputeImage, state: StateFile, request: StartComputeRequest, services: ComputeServices, signal: AbortSignal): Promise<void> {
  if (!image.logicalIsEstimate) return;
  const { timelineId, timelineToken, storageLimitBytes } = request;
  const known = services.pageserver
    .as(timelineToken)
    .getTimelineStatus({ timelineId }, { signal: anySignal([signal, state.closed]) })
    .then(({ logicalSizeBytes }) => state.setBlocksAtStart(logicalSizeBytes / BLOCK_SIZE));
  if (storageLimitBytes > 0) await known;
  else
    known.catch((error: unknown) => {
      if (!state.closed.aborted) services.log.warn({ err: error, timeline: timelineId }, 'the size of a branch stays an estimate');
    });
}

interface WalSide {
  walproposer: Walproposer;
  pressure: BackPressure;
  replication: Awaited<ReturnType<typeof replicate>> | undefined;
  leadership: Awaited<ReturnType<Walproposer['elect']>>;
}

/** Wins the election; commits and back-pressure reach `replication` as soon as that is set. */
async function elect(request: StartComputeRequest, services: ComputeServices, log: ComputeServices['log'], signal: AbortSignal): Promise<WalSide> {
  const side: Partial<WalSide> = {};
  const pageserver = services.pageserver.as(request.timelineToken);
  const make = (): Walproposer =>
    new Walproposer({
      proposerId: services.random.bytes(16).toString('hex'),
      identity: { timeline: request.timelineId, startLsn: request.timelineStartLsn, systemId: request.systemIdentifier, pgVersion: PG_VERSION },
      membership: services.membership,
      safekeepers: services.safekeepers.map(({ node, client }) =>
        grpcSafekeeper({ node, client: client.as(request.timelineToken), timeline: request.timelineId, onPageserver: (ingested) => side.pressure?.ingested(ingested) }),
      ),
      clock: services.clock,
      log,
      onCommit: (position) => side.pressure?.committed(position),
      onPressure: (stopReading) => (stopReading ? side.replication?.pause() : side.replication?.resume()),
    });
  const { walproposer, leadership } = await electWalproposer(make, { clock: services.clock, signal });
  side.pressure = new BackPressure({
    start: leadership.startLsn,
    maxLagBytes: services.limits.maxPageserverLagBytes,
    askIngested: async (cancel) => (await pageserver.getTimelineStatus({ timelineId: request.timelineId }, { signal: cancel })).ingestedLsn,
    onAllowed: (position) => side.replication?.acknowledge(position),
    clock: services.clock,
    log,
  });
  return Object.assign(side, { walproposer, leadership }) as WalSide;
}
