import { BackgroundLoop, type Clock, CoppiceError, type Log, Semaphore, withDeadline } from '@coppice/service-kit';
import { Client } from 'pg';
import { ADMIN_ROLE, WALPROPOSER_NAME } from '../prepare/settings';
import { SOCKET_PORT } from '../computes/compute-directory';
import { type ActiveTime, activeTime, noActiveTime } from './active-time';
import { type ActivitySample, lastActive } from './activity';
import { firstPause, givesWay, nextPause } from './look-schedule';
import { type AwakeReason, type Look, lookAt, NOTHING_SEEN } from './awake';

const QUERY_TIMEOUT_MS = 5_000;
/** A stop does not wait longer for its look. */
const LAST_LOOK_MS = 250;

/** Most reasons that one look tells. */
const MAX_REASONS = 8;

/**
 * Functions rather than views: fewer catalog pages are read for it. The agent's own connections do not count. Of what an
 * autovacuum worker does the text that PostgreSQL makes for it is told, which names the table; no text of a client is.
 */
const SAMPLE = `
  with a as materialized (
    select s.pid, s.datid, s.state, s.state_change, s.xact_start, s.query_start, s.backend_type, s.application_name,
      case when s.backend_type = 'autovacuum worker' then nullif(regexp_replace(s.query, '^autovacuum: ', ''), '') end as table_work,
      s.backend_type = 'client backend' and s.usesysid <> current_user::regrole as is_client,
      s.backend_type = 'walsender' and s.application_name <> '${WALPROPOSER_NAME}' as is_replica
    from pg_stat_get_activity(null) s
  ), p as materialized (select gid, prepared, dbid from pg_prepared_xact()
  ), reasons as (
    select case when state in ('active', 'fastpath function call') then 'query' when state is null then 'session' else 'transaction' end as kind,
        pid, coalesce(xact_start, query_start, state_change) as since, '' as name, datid
      from a where is_client and state is distinct from 'idle'
    union all select 'prepared-transaction', 0, prepared, gid, dbid from p
    union all select 'replication', pid, coalesce(state_change, query_start), application_name, datid from a where is_replica
    union all select 'autovacuum', pid, coalesce(xact_start, query_start), table_work, datid from a where table_work is not null
  )
  select (select count(*)::int from a where is_client and state is distinct from 'idle') as busy,
         (select (extract(epoch from max(state_change)) * 1000)::float8 from a where is_client) as changed,
         (select coalesce(sum(extract(epoch from clock_timestamp() - greatest(to_timestamp($1), coalesce(xact_start, query_start, now())))), 0)::float8 * 1000
           from a where is_client and state is distinct from 'idle') as open,
         (select coalesce(sum(pg_stat_get_db_sessions(d.oid)), 0)::float8 from pg_database d) as sessions,
         (select coalesce(sum(pg_stat_get_db_active_time(d.oid) + pg_stat_get_db_idle_in_transaction_time(d.oid)), 0) from pg_database d) as session_ms,
         (select count(*)::int from p) as prepared,
         (select count(*)::int from a where is_replica) as replicas,
         (select coalesce(json_agg(json_build_object('kind', r.kind, 'pid', r.pid, 'name', r.name, 'database', coalesce(d.datname, ''),
             'sinceUnixMs', round(extract(epoch from coalesce(r.since, now())) * 1000)) order by r.since), '[]')
           from (select * from reasons order by since limit ${MAX_REASONS}) r left join pg_database d on d.oid = r.datid) as reasons`;

interface Row {
  readonly busy: number;
  readonly changed: number | null;
  readonly open: number;
  readonly sessions: number;
  readonly session_ms: number;
  readonly prepared: number;
  readonly replicas: number;
  readonly reasons: readonly AwakeReason[];
}

export interface ActivityMonitorOptions {
  readonly socketDirectory: string;
  /** Time between two looks at a compute that is in use. */
  readonly everyMs: number;
  /** Over the first connection, once: what no start should wait for. */
  readonly onConnected?: (client: Client) => Promise<void>;
  /** Is told when the first look begins, before its session is opened, and when it is over. */
  readonly first?: { begin(signal: AbortSignal): Promise<void>; end(): void };
  /** First looks that nobody asked for, of all computes: one after the other, so that each learns from the one before. */
  readonly firstLooks: Semaphore;
  /** Computes are starting, as many as may. */
  readonly isBusy: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** Looks at a compute again and again, over one connection, and remembers when it was last used. */
export class ActivityMonitor {
  readonly #options: ActivityMonitorOptions;
  readonly #loop: BackgroundLoop;
  #client: Client | undefined;
  #activeMs: number;
  #sessionsOpened = Number.MAX_SAFE_INTEGER;
  #time: ActiveTime;
  #own = { sessions: 0, ms: 0 };
  #seen: Look | undefined;
  /** Monotonic milliseconds. */
  readonly #startedAt: number;
  #nextLookAt: number;
  #pauseMs: number;
  /** Looks do not overlap, whoever asks for them. */
  readonly #looking = new Semaphore(1);

  constructor(options: ActivityMonitorOptions) {
    this.#options = options;
    this.#activeMs = options.clock.now();
    this.#time = noActiveTime(this.#activeMs);
    this.#pauseMs = options.everyMs;
    this.#startedAt = options.clock.monotonic();
    this.#nextLookAt = this.#startedAt + firstPause(options.everyMs);
    this.#loop = new BackgroundLoop({
      name: 'activity',
      everyMs: options.everyMs,
      log: options.log,
      clock: options.clock,
      run: (signal) => this.#lookWhenDue(signal),
    });
  }

  /** Unix milliseconds. */
  get lastActiveMs(): number {
    return this.#activeMs;
  }

  /** What the last look saw; `undefined` before the first. */
  get seen(): Look | undefined {
    return this.#seen;
  }

  /** How long queries ran or transactions were open since the start, as of the last look, milliseconds. */
  get activeTimeMs(): number {
    return this.#time.totalMs;
  }

  /** Runs `work`, which opens one session of the agent's own: that is no use. */
  async asOwn<T>(work: () => Promise<T>): Promise<T> {
    const started = this.#options.clock.monotonic();
    this.#own.sessions += 1;
    try {
      return await work();
    } finally {
      this.#own.ms += this.#options.clock.monotonic() - started;
    }
  }

  start(): void {
    this.#loop.start();
  }

  /** Looks now, rather than when it is time to. */
  async lookNow(signal: AbortSignal): Promise<void> {
    await this.#looking.run(() => this.#look(signal), signal);
  }

  /** Ends the looks, with a last one while PostgreSQL still answers. What nobody has looked at yet was in use all the time. */
  async stop(lastLook: boolean): Promise<void> {
    if (this.#seen === undefined) {
      const now = this.#options.clock.now();
      this.#time = { ...this.#time, totalMs: this.#time.totalMs + Math.max(0, now - this.#time.at), at: now };
    } else if (lastLook) {
      const limit = withDeadline(LAST_LOOK_MS);
      const look = this.#loop.stop().then(() => this.#look(limit));
      await Promise.race([look, aborted(limit)]).catch((error: unknown) =>
        this.#options.log.debug({ err: error }, 'no last look at what the compute was used for'),
      );
      look.catch(() => undefined);
    }
    void this.#client?.end().catch(() => undefined);
    await this.#loop.stop();
  }

  async #lookWhenDue(signal: AbortSignal): Promise<void> {
    // A timer may fire a moment early: this turn is as good as the next.
    const { clock, everyMs, firstLooks, isBusy } = this.#options;
    const now = clock.monotonic();
    if (now + everyMs / 2 < this.#nextLookAt) return;
    if (this.#seen) return this.lookNow(signal);
    if (isBusy() && givesWay(now - this.#startedAt, everyMs)) return;
    // Somebody may have asked for one while it waited for its turn.
    await firstLooks.run(async () => (this.#seen ? undefined : this.lookNow(signal)), signal);
  }

  #planNext(sawUse: boolean): void {
    const { everyMs, clock } = this.#options;
    this.#pauseMs = nextPause(this.#pauseMs, everyMs, sawUse);
    this.#nextLookAt = clock.monotonic() + this.#pauseMs;
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { clock, first } = this.#options;
    if (!this.#seen) await first?.begin(signal);
    const client = await this.#connected(signal).catch((error: unknown) => {
      throw named(error);
    });
    try {
      const asked = clock.monotonic();
      const own = this.#own;
      this.#own = { sessions: own.sessions, ms: 0 };
      const { rows } = await client.query<Row>({ name: 'look', text: SAMPLE, values: [this.#time.at / 1000] });
      const row = rows[0]!;
      const now = clock.now();
      const sample: ActivitySample = {
        busySessions: row.busy,
        lastStateChangeMs: row.changed ?? undefined,
        sessionsOpened: row.sessions - own.sessions,
        preparedTransactions: row.prepared,
        replicas: row.replicas,
      };
      const before = this.#activeMs;
      this.#activeMs = lastActive({ activeMs: this.#activeMs, sessionsOpened: this.#sessionsOpened }, sample, now);
      const isFirst = this.#seen === undefined;
      if (isFirst) first?.end();
      const look = lookAt(row.reasons, { before, active: this.#activeMs, now });
      // The start itself is no use that anybody would ask about.
      this.#seen = isFirst && look.reasons.every((r) => r.kind === 'session') ? NOTHING_SEEN : look;
      // A session of our own is in the statistics a moment later than here: what it lowers is no new beginning.
      const known = this.#sessionsOpened === Number.MAX_SAFE_INTEGER ? 0 : this.#sessionsOpened;
      this.#sessionsOpened = Math.max(known, sample.sessionsOpened);
      this.#time = activeTime(this.#time, { sessionMs: row.session_ms, openMs: row.open, ownMs: own.ms }, now);
      this.#own.ms += clock.monotonic() - asked;
      this.#planNext(this.#seen.reasons.length > 0);
    } catch (error) {
      this.#client = undefined;
      void client.end().catch(() => undefined);
      throw named(error);
    }
  }

  async #connected(signal: AbortSignal): Promise<Client> {
    if (this.#client) return this.#client;
    const client = new Client({
      host: this.#options.socketDirectory,
      port: SOCKET_PORT,
      user: ADMIN_ROLE,
      database: 'postgres',
      application_name: 'coppice-activity',
      // The look is planned once, not each time.
      options: '-c plan_cache_mode=force_generic_plan',
      query_timeout: QUERY_TIMEOUT_MS,
      connectionTimeoutMillis: QUERY_TIMEOUT_MS,
    });
    // The look that notices a lost connection reports it.
    client.on('error', () => undefined);
    await client.connect();
    if (signal.aborted) {
      void client.end().catch(() => undefined);
      signal.throwIfAborted();
    }
    try {
      await this.#options.onConnected?.(client);
    } catch (error) {
      void client.end().catch(() => undefined);
      throw error;
    }
    this.#client = client;
    // Our own session came with this look.
    this.#sessionsOpened = Number.MAX_SAFE_INTEGER;
    return client;
  }
}

/** How node-postgres says that a session did not open, or a query was not answered, in time: only by text. */
const TIMED_OUT: ReadonlySet<string> = new Set(['timeout expired', 'Query read timeout']);

/** A server that is held to a small share of a CPU may answer late: the loop warns of that when it lasts. */
function named(error: unknown): unknown {
  if (!(error instanceof Error) || !TIMED_OUT.has(error.message)) return error;
  return new CoppiceError('Unavailable', 'look-timed-out', `the compute did not answer a look within ${QUERY_TIMEOUT_MS} ms`, { cause: error });
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));
}
