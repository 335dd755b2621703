import { BackgroundLoop, type Clock, type Log, withDeadline } from '@coppice/service-kit';
import { Client } from 'pg';
import { ADMIN_ROLE, WALPROPOSER_NAME } from '../prepare/settings';
import { SOCKET_PORT } from '../computes/compute-directory';
import { type ActiveTime, activeTime, noActiveTime } from './active-time';
import { type ActivitySample, lastActive } from './activity';

const QUERY_TIMEOUT_MS = 5_000;
/** A stop does not wait longer for its look. */
const LAST_LOOK_MS = 250;

/** Functions rather than views: fewer catalog pages are read for it. The agent's own connections do not count. */
const SAMPLE = `
  select count(*) filter (where a.state is distinct from 'idle')::int as busy,
         (extract(epoch from max(a.state_change)) * 1000)::float8 as changed,
         coalesce(sum(extract(epoch from clock_timestamp() - greatest(to_timestamp($1), coalesce(a.xact_start, a.query_start, now()))))
           filter (where a.state is distinct from 'idle'), 0)::float8 * 1000 as open,
         (select coalesce(sum(pg_stat_get_db_sessions(d.oid)), 0)::float8 from pg_database d) as sessions,
         (select coalesce(sum(pg_stat_get_db_active_time(d.oid) + pg_stat_get_db_idle_in_transaction_time(d.oid)), 0) from pg_database d) as session_ms,
         (select count(*)::int from pg_prepared_xact()) as prepared,
         (select count(*)::int from pg_stat_get_activity(null) w where w.backend_type = 'walsender' and w.application_name <> '${WALPROPOSER_NAME}') as replicas
  from pg_stat_get_activity(null) a
  where a.backend_type = 'client backend' and a.usesysid <> current_user::regrole`;

interface Row {
  readonly busy: number;
  readonly changed: number | null;
  readonly open: number;
  readonly sessions: number;
  readonly session_ms: number;
  readonly prepared: number;
  readonly replicas: number;
}

export interface ActivityMonitorOptions {
  readonly socketDirectory: string;
  readonly everyMs: number;
  /** Over the first connection, once: what no start should wait for. */
  readonly onConnected?: (client: Client) => Promise<void>;
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

  constructor(options: ActivityMonitorOptions) {
    this.#options = options;
    this.#activeMs = options.clock.now();
    this.#time = noActiveTime(this.#activeMs);
    this.#loop = new BackgroundLoop({
      name: 'activity',
      everyMs: options.everyMs,
      log: options.log,
      clock: options.clock,
      run: (signal) => this.#lookLater(signal),
    });
  }

  /** Unix milliseconds. */
  get lastActiveMs(): number {
    return this.#activeMs;
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

  /** Ends the looks, with a last one while PostgreSQL still answers. */
  async stop(lastLook: boolean): Promise<void> {
    if (lastLook) {
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

  async #lookLater(signal: AbortSignal): Promise<void> {
    // The first look comes after a pause: a start has better things to do.
    if (!this.#client) await this.#options.clock.sleep(this.#options.everyMs, signal);
    await this.#look(signal);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const client = await this.#connected(signal);
    try {
      const asked = clock.monotonic();
      const own = this.#own;
      this.#own = { sessions: own.sessions, ms: 0 };
      const { rows } = await client.query<Row>(SAMPLE, [this.#time.at / 1000]);
      const row = rows[0]!;
      const now = clock.now();
      const sample: ActivitySample = {
        busySessions: row.busy,
        lastStateChangeMs: row.changed ?? undefined,
        sessionsOpened: row.sessions - own.sessions,
        preparedTransactions: row.prepared,
        replicas: row.replicas,
      };
      this.#activeMs = lastActive({ activeMs: this.#activeMs, sessionsOpened: this.#sessionsOpened }, sample, now);
      // A session of our own is in the statistics a moment later than here: what it lowers is no new beginning.
      const known = this.#sessionsOpened === Number.MAX_SAFE_INTEGER ? 0 : this.#sessionsOpened;
      this.#sessionsOpened = Math.max(known, sample.sessionsOpened);
      this.#time = activeTime(this.#time, { sessionMs: row.session_ms, openMs: row.open, ownMs: own.ms }, now);
      this.#own.ms += clock.monotonic() - asked;
    } catch (error) {
      this.#client = undefined;
      void client.end().catch(() => undefined);
      throw error;
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
      query_timeout: QUERY_TIMEOUT_MS,
    });
    // The look that notices a lost connection reports it.
    client.on('error', () => undefined);
    await client.connect();
    if (signal.aborted) {
      void client.end().catch(() => undefined);
      signal.throwIfAborted();
    }
    await this.#options.onConnected?.(client);
    this.#client = client;
    // Our own session came with this look.
    this.#sessionsOpened = Number.MAX_SAFE_INTEGER;
    return client;
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));
}
