import { BackgroundLoop, type Clock, type Log } from '@coppice/service-kit';
import { Client } from 'pg';
import { ADMIN_ROLE, WALPROPOSER_NAME } from '../prepare/settings';
import { SOCKET_PORT } from '../computes/compute-directory';
import { type ActivitySample, lastActive } from './activity';

const QUERY_TIMEOUT_MS = 5_000;

/** Functions rather than views: fewer catalog pages are read for it. The own connection does not count. */
const SAMPLE = `
  select count(*) filter (where a.state is distinct from 'idle')::int as busy,
         (extract(epoch from max(a.state_change)) * 1000)::float8 as changed,
         (select coalesce(sum(pg_stat_get_db_sessions(d.oid)), 0)::float8 from pg_database d) as sessions,
         (select count(*)::int from pg_prepared_xact()) as prepared,
         (select count(*)::int from pg_stat_get_activity(null) w where w.backend_type = 'walsender' and w.application_name <> '${WALPROPOSER_NAME}') as replicas
  from pg_stat_get_activity(null) a
  where a.backend_type = 'client backend' and a.pid <> pg_backend_pid()`;

export interface ActivityMonitorOptions {
  readonly socketDirectory: string;
  readonly everyMs: number;
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

  constructor(options: ActivityMonitorOptions) {
    this.#options = options;
    this.#activeMs = options.clock.now();
    this.#loop = new BackgroundLoop({
      name: 'activity',
      everyMs: options.everyMs,
      log: options.log,
      clock: options.clock,
      run: (signal) => this.#look(signal),
    });
  }

  /** Unix milliseconds. */
  get lastActiveMs(): number {
    return this.#activeMs;
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    void this.#client?.end().catch(() => undefined);
    await this.#loop.stop();
  }

  async #look(signal: AbortSignal): Promise<void> {
    // The first look comes after a pause: a start has better things to do.
    if (!this.#client) await this.#options.clock.sleep(this.#options.everyMs, signal);
    const client = await this.#connected(signal);
    try {
      const { rows } = await client.query(SAMPLE);
      const row = rows[0] as { busy: number; changed: number | null; sessions: number; prepared: number; replicas: number };
      const sample: ActivitySample = {
        busySessions: row.busy,
        lastStateChangeMs: row.changed ?? undefined,
        sessionsOpened: row.sessions,
        preparedTransactions: row.prepared,
        replicas: row.replicas,
      };
      this.#activeMs = lastActive({ activeMs: this.#activeMs, sessionsOpened: this.#sessionsOpened }, sample, this.#options.clock.now());
      this.#sessionsOpened = sample.sessionsOpened;
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
    this.#client = client;
    // Our own session came with this look.
    this.#sessionsOpened = Number.MAX_SAFE_INTEGER;
    return client;
  }
}
