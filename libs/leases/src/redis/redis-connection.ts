import { Redis } from 'ioredis';
import { CoppiceError, Counter, type Log } from '@coppice/service-kit';

const failures = new Counter({
  name: 'coppice_redis_failures_total',
  help: 'Commands to Redis that were not answered with a result.',
});

const CONNECT_TIMEOUT_MS = 700;
const COMMAND_TIMEOUT_MS = 700;
/** Without any answer for so long the connection is given up: the server hangs, or the network swallows packets. */
const SOCKET_TIMEOUT_MS = 1_500;
const RECONNECT_MS = { first: 20, most: 500 };
/** Commands sent and not answered; above it the server is behind, and more would only wait for their timeout. */
const MAX_UNDER_WAY = 5_000;

/** Replies that say the command was understood and cannot be right: bugs of ours, which no repetition mends. */
const BUG_REPLY = /^(ERR|WRONGTYPE|NOSCRIPT|CROSSSLOT)\b/;

/** A script over one key. */
export interface Script {
  readonly name: string;
  readonly lua: string;
}

export interface RedisOptions {
  /** `redis://…`, `rediss://…`, or the path of a Unix socket. */
  readonly url: string;
  readonly log: Log;
  /** Before every key, so that others can use the same server. */
  readonly keyPrefix?: string;
}

type ScriptCall = (key: string, ...args: readonly (string | number)[]) => Promise<unknown>;

/**
 * A connection that answers or fails within a second, and reconnects by itself. Nothing is sent twice and nothing waits for a
 * connection: what a lost server may or may not have done is the caller's to think about, not to be done again behind its back.
 */
export class RedisConnection {
  readonly #redis: Redis;
  readonly #log: Log;
  #underWay = 0;
  #lastError: Error | undefined;
  #isUp = false;

  /** Connects; a server that is not there is waited for shortly, and then looked for in the background. */
  static async open(options: RedisOptions): Promise<RedisConnection> {
    const connection = new RedisConnection(options);
    await connection.#redis.connect().catch(() => undefined);
    if (!connection.#isUp)
      options.log.warn({ err: connection.#lastError }, 'redis does not answer, keeps trying');
    return connection;
  }

  private constructor({ url, log, keyPrefix = 'coppice:' }: RedisOptions) {
    this.#log = log;
    this.#redis = new Redis(url, {
      lazyConnect: true,
      keyPrefix,
      connectTimeout: CONNECT_TIMEOUT_MS,
      commandTimeout: COMMAND_TIMEOUT_MS,
      socketTimeout: SOCKET_TIMEOUT_MS,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (attempt) => Math.min(attempt * RECONNECT_MS.first, RECONNECT_MS.most),
      // After a failover this may be the old primary; the name may lead to the new one by now.
      reconnectOnError: (error) => error.message.startsWith('READONLY'),
    });
    this.#redis.on('error', (error: Error) => (this.#lastError = error));
    this.#redis.on('ready', () => this.#becameReady());
    this.#redis.on('close', () => this.#wasLost());
  }

  /** A function that runs `script` (sent by its hash). Failures become `Unavailable` with `code`. */
  script({ name, lua }: Script, code: string): ScriptCall {
    this.#redis.defineCommand(name, { lua, numberOfKeys: 1 });
    const call = (this.#redis as unknown as Record<string, ScriptCall>)[name]!.bind(this.#redis);
    return (key, ...args) => this.#bounded(() => call(key, ...args), code);
  }

  /** Closes the connection; calls under way fail. */
  close(): void {
    this.#isUp = false;
    this.#redis.disconnect();
  }

  async #bounded<T>(send: () => Promise<T>, code: string): Promise<T> {
    if (this.#underWay >= MAX_UNDER_WAY)
      throw unavailable(code, `${MAX_UNDER_WAY} commands to Redis wait for answers already`);
    this.#underWay += 1;
    try {
      return await send();
    } catch (error) {
      failures.inc();
      const { message } = error as Error;
      if (BUG_REPLY.test(message)) throw error;
      const cause = this.#redis.status === 'ready' ? error : (this.#lastError ?? error);
      throw unavailable(code, `Redis does not answer (${(cause as Error).message})`, cause);
    } finally {
      this.#underWay -= 1;
    }
  }

  #becameReady(): void {
    if (this.#lastError) this.#log.info('redis answers again');
    this.#lastError = undefined;
    this.#isUp = true;
  }

  #wasLost(): void {
    if (!this.#isUp) return;
    this.#isUp = false;
    this.#lastError ??= new Error('the connection closed');
    this.#log.warn({ err: this.#lastError }, 'redis is lost, reconnects');
  }
}

function unavailable(code: string, message: string, cause?: unknown): CoppiceError {
  return new CoppiceError('Unavailable', code, message, { remedy: 'Try again shortly.', cause });
}
