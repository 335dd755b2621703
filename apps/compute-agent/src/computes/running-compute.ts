/**
 * A compute that runs, with everything that belongs to it. It ends in one of two ways:
 *
 *   suspend()   sessions ended between commands (57P01), for a time; then the rest; shutdown checkpoint, its quorum acknowledgement,
 *               streams closed, files gone
 *   kill()      SIGQUIT, streams dropped, files gone: what was acknowledged is in the quorum
 *
 * `ended` tells of an end that nobody asked for: PostgreSQL died, or the term was lost. Losing the term kills
 * PostgreSQL at once: a fenced compute must not answer another query.
 */
import type { ComputeLimitsRequest, ComputeLook, SqlResult, StartComputeRequest } from '@coppice/contracts';
import { CoppiceError, type Log, Semaphore, withDeadline } from '@coppice/service-kit';
import { BLOCK_SIZE, formatLsn, type Lsn, type Term } from '@coppice/vocabulary';
import { ActivityMonitor } from '../activity/activity-monitor';
import { NOTHING_SEEN } from '../activity/awake';
import { measureServer } from '../memory/server-memory';
import type { PageSource } from '../page-source/page-source';
import type { PagesStream } from '../pageserver/pages-stream';
import type { FirstLook } from '../pageserver/first-look';
import type { Lesson } from '../pageserver/lesson';
import { blocksIn, type StateFile } from '../page-source/state-file';
import { drainSessions } from '../postgres/drain';
import type { PostgresProcess } from '../postgres/postgres-process';
import type { ResourceGroup } from '../resources/compute-resources';
import type { ComputeScaler, ComputeSize } from '../scaling/compute-scaler';
import { inDirectory } from '../prepare/guarded-directory';
import { resizedConf } from '../prepare/settings';
import { replaceFile, type ServerUser } from '../prepare/write-layout';
import type { ReplicationClient } from '../replication/replication-client';
import { runSql, type SqlRequest } from '../sql/run-sql';
import type { BackPressure } from '../wal/back-pressure';
import type { Walproposer } from '../wal/walproposer';
import type { ComputeDirectory } from './compute-directory';
import type { ComputeServices } from './compute-services';
import type { Phase } from './phase-timer';
import { ensureReader } from './reader-role';

const KILL_DEADLINE_MS = 3_000;
const MEMORY_EVERY_MS = 5_000;
/** A server that has just started takes less than it will. */
const MEMORY_AFTER_MS = 3_000;
/** As many as PostgreSQL keeps free of clients. */
const SQL_SESSIONS = 4;
const SQL_WAITING = 100;

export interface RunningComputeParts {
  readonly request: StartComputeRequest;
  readonly services: ComputeServices;
  readonly log: Log;
  readonly directory: ComputeDirectory;
  readonly user: ServerUser | undefined;
  readonly state: StateFile;
  readonly lesson: Lesson;
  readonly firstLook: FirstLook;
  readonly pages: PagesStream;
  readonly pageSource: PageSource;
  readonly postgres: PostgresProcess;
  readonly group: ResourceGroup;
  readonly replication: ReplicationClient;
  readonly walproposer: Walproposer;
  readonly pressure: BackPressure;
  readonly startLsn: Lsn;
  readonly term: Term;
  readonly phases: readonly Phase[];
}

/** What a compute was used for, since it started. */
export interface ComputeUse {
  /** Of all relation files of all databases and the shared catalogs. */
  readonly logicalSizeBytes: number;
  readonly activeMs: number;
  readonly runningMs: number;
  /** Absent once it has ended: nothing of it is left to look at. */
  readonly look?: ComputeLook;
}

/** What is told of a compute while it runs, and of one that is over for as long as it is remembered. */
export interface ComputeFacts {
  readonly socketDirectory: string;
  readonly dataDirectory: string;
  readonly startLsn: Lsn;
  readonly commitLsn: Lsn;
  readonly term: Term;
  readonly phases: readonly Phase[];
  /** Absent when it is not scaled. */
  readonly size: ComputeSize | undefined;
  readonly lastActiveMs: number;
  readonly held: boolean;
}

export class RunningCompute {
  readonly #parts: RunningComputeParts;
  readonly #sqlSessions = new Semaphore(SQL_SESSIONS, SQL_WAITING);
  readonly #startedAt: number;
  #endedAt: number | undefined;
  #logicalSizeBytes = 0;
  #memory: { readonly bytes: number | undefined; readonly at: number } = { bytes: undefined, at: -Infinity };
  readonly activity: ActivityMonitor;
  /** Absent when it is not scaled. */
  readonly #scaler: ComputeScaler | undefined;
  /** Rejects when the compute ends without being asked to. */
  readonly ended: Promise<never>;
  #asked = false;
  #cleaning: Promise<void> | undefined;

  constructor(parts: RunningComputeParts) {
    this.#parts = parts;
    const { services, directory, log, request, group } = parts;
    const { computeUnits: max, minComputeUnits: min = max } = request;
    if (max > 0) this.#scaler = services.scaler.scale({ group, bounds: { min, max }, log });
    this.#startedAt = services.clock.monotonic();
    this.activity = new ActivityMonitor({
      socketDirectory: directory.sockets,
      everyMs: services.limits.activityEveryMs,
      onConnected: ensureReader,
      first: parts.firstLook,
      firstLooks: services.firstLooks,
      isBusy: () => services.starts.isFull,
      clock: services.clock,
      log,
    });
    this.activity.start();
    parts.lesson.endSoon();
    this.ended = this.#watch();
    this.ended.catch(() => undefined);
  }

  get group(): ResourceGroup {
    return this.#parts.group;
  }

  /** As they are now; they refer to nothing of what runs. */
  facts(): ComputeFacts {
    const { directory, startLsn, walproposer, term, phases } = this.#parts;
    return {
      socketDirectory: directory.sockets,
      dataDirectory: directory.data,
      startLsn,
      commitLsn: walproposer.commitLsn,
      term,
      phases,
      size: this.#scaler?.size,
      lastActiveMs: this.activity.lastActiveMs,
      held: this.activity.seen?.held ?? false,
    };
  }

  /** Cheap: no SQL. The active time is that of the last look. */
  use(): ComputeUse {
    const runningMs = Math.round((this.#endedAt ?? this.#parts.services.clock.monotonic()) - this.#startedAt);
    // Its process id may be another compute's by then.
    const look = this.#cleaning ? {} : { look: this.#look() };
    if (!this.#cleaning) this.#measure();
    return { logicalSizeBytes: this.#logicalSizeBytes, activeMs: Math.min(runningMs, Math.round(this.activity.activeTimeMs)), runningMs, ...look };
  }

  /** Nothing of its memory until it has run for a moment, or was looked at. */
  #look(): ComputeLook {
    const { services, postgres } = this.#parts;
    const { reasons: awakeReasons, held } = this.activity.seen ?? NOTHING_SEEN;
    const now = services.clock.monotonic();
    const settled = this.activity.seen !== undefined || now - this.#startedAt >= MEMORY_AFTER_MS;
    if (settled && postgres.pid !== undefined && now - this.#memory.at >= MEMORY_EVERY_MS) this.#memory = { bytes: measureServer(postgres.pid), at: now };
    return { awakeReasons, held, memoryBytes: this.#memory.bytes };
  }

  /** SQL of the control-plane; does not count as use. */
  runSql(request: SqlRequest, signal: AbortSignal): Promise<SqlResult[]> {
    return this.#sqlSessions.run(() => this.activity.asOwn(() => runSql(request, this.#parts.directory, signal)), signal);
  }

  /** For the next block that is written, and the next query. */
  async setLimits({ storageLimitBytes, computeUnits, minComputeUnits = computeUnits }: Omit<ComputeLimitsRequest, 'computeId'>): Promise<void> {
    const { state, directory, user, postgres, log } = this.#parts;
    if (storageLimitBytes !== undefined) state.setCap(storageLimitBytes === 0 ? undefined : blocksIn(storageLimitBytes));
    if (computeUnits > 0) {
      await this.#scaler?.setBounds({ min: minComputeUnits, max: computeUnits });
      inDirectory(directory.data, '', (data) => replaceFile(`${data}/postgresql.auto.conf`, resizedConf(computeUnits), user));
      postgres.reload();
    }
    log.info({ storageLimitBytes, computeUnits, minComputeUnits }, 'compute gets other limits');
  }

  /** Stops in good order and returns the final committed position: the end of the shutdown checkpoint. */
  async suspend(): Promise<Lsn> {
    this.#asked = true;
    const { replication, walproposer, pressure, services, log, request } = this.#parts;
    this.#parts.lesson.end();
    pressure.lift();
    await this.#liftSize();
    await this.activity.stop(true);
    const deadline = withDeadline(services.limits.suspendDeadlineMs);
    const late = Promise.race([walproposer.deposed, overdue(deadline)]);
    late.catch(() => undefined);
    try {
      const over = Promise.all([replication.over(), this.#cleanExit()]);
      over.catch(() => undefined);
      await Promise.race([this.#stopPostgres(deadline), late]);
      await Promise.race([over, late]);
      await walproposer.finish();
    } catch (error) {
      await this.kill();
      throw error;
    }
    await this.#cleanUp(request.keepDataDirectory);
    log.info({ commitLsn: formatLsn(walproposer.commitLsn) }, 'compute is suspended');
    return walproposer.commitLsn;
  }

  /** Ends it at once, whatever it does. */
  async kill(): Promise<void> {
    this.#asked = true;
    const { postgres, replication, walproposer, services, lesson } = this.#parts;
    lesson.end();
    postgres.stop('immediate');
    replication.destroy();
    // What no safekeeper knows to be committed can be read by nobody, neither a fork nor the pageserver.
    await walproposer.finish();
    const gone = await Promise.race([postgres.exited, services.clock.sleep(KILL_DEADLINE_MS)]);
    if (gone === undefined) {
      postgres.kill();
      await postgres.exited;
    }
    await this.activity.stop(false);
    await this.#cleanUp(false);
  }

  async #watch(): Promise<never> {
    const { postgres, replication, walproposer } = this.#parts;
    const died = postgres.exited.then(async () => {
      throw await postgres.whyGone();
    });
    const fenced = walproposer.deposed.catch((error: unknown) => {
      postgres.stop('immediate');
      throw error;
    });
    const cut = replication.ended.then(() => died);
    try {
      return (await Promise.race([died, fenced, cut])) as never;
    } catch (error) {
      // The stream breaks a moment before PostgreSQL's end is seen: that end is the better explanation.
      const reason = walproposer.deposed.catch((e: unknown) => e);
      const known = await Promise.race([reason, postgres.exited.then(() => postgres.whyGone()), this.#parts.services.clock.sleep(200)]);
      if (!this.#asked) await this.kill();
      throw known ?? error;
    }
  }

  /** Sessions that have not come to the end of a transaction in time are ended in the middle. */
  async #stopPostgres(deadline: AbortSignal): Promise<void> {
    const { postgres, services } = this.#parts;
    const { drainMs, suspendDeadlineMs } = services.limits;
    postgres.stop('smart');
    // What comes after it takes time, too.
    const drain = withDeadline(Math.min(drainMs, suspendDeadlineMs / 2), deadline);
    if (postgres.pid !== undefined) await Promise.race([drainSessions(postgres.pid, services.clock, drain), postgres.exited]);
    postgres.stop('fast');
  }

  async #cleanExit(): Promise<void> {
    const { postgres } = this.#parts;
    if ((await postgres.exited) !== 'exit 0') throw await postgres.whyGone();
  }

  /** A state file that cannot be read is no reason to end anything: the last known size stays. */
  #measure(): void {
    try {
      this.#logicalSizeBytes = this.#parts.state.use().usedBlocks * BLOCK_SIZE;
    } catch (error) {
      this.#parts.log.warn({ err: error }, 'the size of a compute cannot be read');
    }
  }

  /** An end is not put off by a limit that stays for it. */
  async #liftSize(): Promise<void> {
    await this.#scaler?.lift().catch((error: unknown) => this.#parts.log.warn({ err: error }, 'a compute that stops keeps its size'));
  }

  /** Once, whoever comes first: the user goes back to the pool and may be somebody else's by the second time. */
  #cleanUp(keepData: boolean): Promise<void> {
    this.#cleaning ??= this.#giveEverythingBack(keepData);
    return this.#cleaning;
  }

  async #giveEverythingBack(keepData: boolean): Promise<void> {
    const { pages, pageSource, pressure, state, services, user, directory, group } = this.#parts;
    pressure.stop();
    await this.#liftSize();
    group.discard();
    await pageSource.stop();
    pages.close();
    this.#endedAt = services.clock.monotonic();
    this.#measure();
    state.close();
    if (!keepData) services.trash.discard(directory.root);
    services.users.give(user);
  }
}

function overdue(deadline: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    deadline.addEventListener(
      'abort',
      () => reject(new CoppiceError('Unavailable', 'suspend-overdue', 'the compute had not stopped in good order, with its last checkpoint acknowledged, when its time was up; it was ended', {
        remedy: 'Nothing acknowledged is lost: the next start elects from the quorum.',
      })),
      { once: true },
    );
  });
}
