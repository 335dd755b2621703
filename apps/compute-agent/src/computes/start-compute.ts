/**
 * Starts a compute at the end of its timeline's committed WAL:
 *
 *   elect ──► S ──► image at S ──► data directory ──► page source ──► postgres ──► replication from S ──► set-up SQL
 *
 * Whatever was made is undone when a step fails; nothing of it is needed for the next try.
 */
import { rmSync } from 'node:fs';
import { basename } from 'node:path';
import { asCoppiceError, CoppiceError, withDeadline } from '@coppice/service-kit';
import type { StartComputeRequest } from '@coppice/contracts';
import { pgMicrosFromUnixMillis } from '@coppice/postgres';
import { formatLsn, type Lsn, type TimelineId } from '@coppice/vocabulary';
import type { KeyedPage } from '../page-source/install-pages';
import { PageSource } from '../page-source/page-source';
import { PagesStream } from '../pageserver/pages-stream';
import { PostgresProcess } from '../postgres/postgres-process';
import { collectImage } from '../prepare/compute-image';
import { isLaidOut, prepareDataDirectory } from '../prepare/data-directory';
import { type Layout, layoutOf } from '../prepare/layout';
import { ADMIN_ROLE, WALPROPOSER_NAME } from '../prepare/settings';
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
/** Longer than it takes to lay the directory out: then the pages are fetched one by one. */
const WARM_PATIENCE_MS = 250;

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
    const wal = await elect(request, services, log, signal);
    undo.push(() => wal.walproposer.abort(), () => wal.pressure.stop());
    const { startLsn } = wal.leadership;
    timer.done('elect');

    const image = await collectImage(pageserver.getComputeImage({ timelineId: request.timelineId, lsn: startLsn }, { signal }), startLsn);
    if (image.systemIdentifier !== request.systemIdentifier) {
      throw new CoppiceError('Corrupt', 'wrong-system', `the image is of system ${image.systemIdentifier}, asked for was ${request.systemIdentifier}`);
    }
    const layout = layoutOf(image);
    timer.done('image');

    const at = { timeline: request.timelineId, lsn: startLsn };
    rmSync(directory.root, { recursive: true, force: true });
    undo.push(() => rmSync(directory.root, { recursive: true, force: true }));
    const { state, user } = await prepareDataDirectory({
      image,
      layout,
      directory,
      spares: services.spares,
      warmPages: warmPages(services, pages, at, layout, image.systemIdentifier, signal),
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
    undo.push(() => services.users.give(user), () => state.close());
    const learn = services.warm.recorder(image.systemIdentifier, request.timelineId);
    const pageSource = new PageSource({
      state,
      provider: {
        getPages: (keys, cancel) => {
          learn(keys);
          return pages.getPages(at, keys, cancel);
        },
      },
      log,
      clock,
      ...(user && { owner: user }),
    });
    await pageSource.start();
    undo.push(() => pageSource.stop());
    timer.done('prepare');

    const group = services.resources.group(basename(directory.root));
    undo.push(() => group.discard());
    const postgres = PostgresProcess.start({
      executable: `${services.installation.binDirectory}/postgres`,
      dataDirectory: directory.data,
      user,
      env: { LD_PRELOAD: services.interposer, COPPICE_STATE: directory.state, COPPICE_AGENT_PID: String(process.pid) },
      clock,
      log,
    });
    undo.push(async () => {
      postgres.kill();
      await postgres.exited;
    });
    // While it starts: a move between groups waits for the kernel, and PostgreSQL has better things to do than to wait for that.
    const placed = postgres.pid === undefined ? undefined : group.add(postgres.pid);
    await Promise.race([Promise.all([postgres.ready(signal), placed]), wal.walproposer.deposed]);
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
    log.info({ startLsn: formatLsn(startLsn), term: wal.leadership.term, phases: timer.phases }, 'compute runs');
    return new RunningCompute({
      request, services, log, directory, user, state, pages, pageSource, postgres, group, replication,
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

/** Pages that earlier starts wanted, as far as they exist here and come soon; a start does not fail for want of them. */
async function warmPages(
  services: ComputeServices,
  stream: PagesStream,
  at: { readonly timeline: TimelineId; readonly lsn: Lsn },
  layout: Layout,
  lineage: bigint,
  signal: AbortSignal,
): Promise<readonly KeyedPage[]> {
  const keys = services.warm.keysFor(lineage, at.timeline).filter((key) => isLaidOut(layout, key));
  if (keys.length === 0) return [];
  try {
    const pages = await stream.getPages(at, keys, withDeadline(WARM_PATIENCE_MS, signal));
    return keys.map((key, i) => ({ key, page: pages[i]! }));
  } catch (error) {
    services.log.debug({ err: error, timeline: at.timeline }, 'warm pages do not come in time');
    return [];
  }
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
