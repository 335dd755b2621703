/**
 * One client on a pooled endpoint. It has a server for a transaction at a time: from the first message that needs one until the
 * server owes nothing and no transaction is open. Back-pressure goes both ways, nothing is buffered whole.
 */
import type { Duplex } from 'node:stream';
import { writeError } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import type { MovingTarget } from '../cancel/cancel-keys';
import { endSoon } from '../client-stream';
import { Conversation, ProtocolViolation } from './conversation';
import { FromClient } from './from-client';
import { FromServer } from './from-server';
import { ENDS_SESSION, MAX_ATTEMPTS } from './not-taken-up';
import { APPLICATION_NAME } from './pool-target';
import { type Holder, type PooledServer, writeAll } from './pooled-server';
import type { UnnamedStatement } from './prepared-statements';
import { settleSettings } from './settle-settings';
import type { ReportedSettings } from './reported-settings';
import type { ServerPool } from './server-pool';
import type { TargetServers } from './target-servers';

const NOTHING = Buffer.alloc(0);
/** What is kept of a transaction that was not answered yet, for another server, bytes. */
const MAX_FLIGHT_BYTES = 64 * 1024;
/** An unnamed statement that is kept beyond its transaction, bytes. */
const MAX_KEPT_BYTES = 16 * 1024;

export interface PooledSessionOptions {
  readonly client: Duplex;
  readonly pool: ServerPool;
  readonly servers: TargetServers;
  readonly greeting: ReportedSettings;
  readonly applicationName: string | undefined;
  /** What to tell a client whose transaction gets no server. */
  readonly describe: (error: unknown) => Buffer;
}

export class PooledSession implements Holder, MovingTarget {
  readonly #o: PooledSessionOptions;
  readonly #client: Duplex;
  readonly #c: Conversation;
  readonly #fromClient: FromClient;
  readonly #fromServer: FromServer;
  /** Ends the wait for a server, while there is one. */
  #wait: AbortController | undefined;
  #isGone = false;
  #server: PooledServer | undefined;
  /** The next message waits for the server's answer to earlier ones. */
  #isStalled = false;
  /** What the client sent since it got its server, until that answers. */
  #flight: Buffer[] | undefined;
  #flightBytes = 0;
  /** Servers that the present transaction was sent to. */
  #attempts = 0;
  /** What the client's unnamed statement was before the present transaction. */
  #unnamedBefore: UnnamedStatement | undefined;

  constructor(options: PooledSessionOptions) {
    this.#o = options;
    this.#client = options.client;
    this.#c = new Conversation(options.servers.statements, options.greeting);
    this.#fromClient = new FromClient(this.#c);
    this.#fromServer = new FromServer(this.#c);
    if (options.applicationName !== undefined)
      this.#c.wanted = new Map([[APPLICATION_NAME, options.applicationName]]);
  }

  /** Resolves when the client is gone. `early`: what it sent already. */
  run(early: Buffer): Promise<void> {
    const client = this.#client;
    if (client.destroyed) {
      this.#leave();
      return Promise.resolve();
    }
    const over = new Promise<void>((resolve) => {
      client.once('close', () => {
        this.#leave();
        resolve();
      });
    });
    client.on('data', (chunk: Buffer) => this.#fromClientData(chunk));
    client.on('drain', () => {
      this.#server?.resume();
      this.#listen();
    });
    client.resume();
    if (early.length > 0) this.#fromClientData(early);
    return over;
  }

  /** Says why and ends. */
  end(message: Buffer): void {
    this.#client.removeAllListeners('data');
    this.#client.resume();
    endSoon(this.#client, message);
    this.#leave();
  }

  async cancel(): Promise<void> {
    await this.#server?.cancel();
  }

  #leave(): void {
    this.#isGone = true;
    this.#wait?.abort();
    const server = this.#server;
    this.#server = undefined;
    this.#c.server = undefined;
    if (server) this.#o.pool.discard(server);
    this.#c.statements.clear();
  }

  #fromClientData(chunk: Buffer): void {
    if (this.#flight) this.#remember(chunk);
    let fed;
    try {
      fed = this.#fromClient.feed(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolViolation)) throw error;
      this.end(writeError({ severity: 'FATAL', code: error.sqlstate, message: error.message }));
      return;
    }
    this.#flush();
    if (fed === 'terminated') this.#client.destroy();
    else if (fed === 'needs-server') this.#acquire();
    else if (fed === 'needs-answer') this.#stall();
    else this.#giveBackWhenIdle();
  }

  /** Takes more from the client, unless something has to come first. */
  #listen(): void {
    const isFull = this.#server ? this.#server.isFull : this.#client.writableNeedDrain;
    if (!this.#wait && !this.#isStalled && !isFull) this.#client.resume();
  }

  #stall(): void {
    this.#isStalled = true;
    this.#client.pause();
  }

  #remember(chunk: Buffer): void {
    this.#flightBytes += chunk.length;
    if (this.#flightBytes > MAX_FLIGHT_BYTES) this.#flight = undefined;
    else this.#flight!.push(chunk);
  }

  #flush(): void {
    const { toServer, toClient } = this.#c;
    if (toServer.length > 0) {
      if (!this.#server!.writeAll(toServer)) this.#client.pause();
      toServer.length = 0;
    }
    if (toClient.length > 0) {
      if (!writeAll(this.#client, toClient)) (this.#server ?? this.#client).pause();
      toClient.length = 0;
    }
  }

  #acquire(): void {
    const server = this.#o.pool.take(this.#o.servers, this);
    if (server) return this.#begin(server);
    this.#client.pause();
    this.#wait = new AbortController();
    this.#o.pool.wait(this.#o.servers, this, this.#wait.signal).then(
      (granted) => {
        this.#wait = undefined;
        if (this.#isGone) return this.#o.pool.checkin(granted);
        if (granted.isGone) return this.#acquire();
        this.#begin(granted);
      },
      (error: unknown) => {
        this.#wait = undefined;
        if (!this.#isGone) this.end(this.#o.describe(error));
      },
    );
  }

  #begin(server: PooledServer): void {
    const c = this.#c;
    this.#server = server;
    c.server = server;
    c.unnamedOrdinal = 0;
    this.#unnamedBefore = c.unnamed;
    c.inFlight.reset();
    this.#fromServer.restart();
    this.#attempts += 1;
    this.#isStalled = false;
    const { held } = this.#fromClient;
    this.#flight = [held];
    this.#flightBytes = held.length;
    server.hold(this);
    settleSettings(c, server);
    if (this.#client.writableNeedDrain) server.pause();
    this.#fromClientData(NOTHING);
    this.#listen();
  }

  #giveBackWhenIdle(): void {
    const server = this.#server;
    if (!server || !this.#c.inFlight.isIdle) return;
    if (!this.#fromServer.isBetweenMessages || !this.#fromClient.isBetweenMessages) return;
    const { unnamed } = this.#c;
    if (unnamed?.message) unnamed.message = kept(unnamed.message);
    this.#server = undefined;
    this.#c.server = undefined;
    this.#flight = undefined;
    this.#attempts = 0;
    this.#o.pool.checkin(server);
    // Whoever takes that server next hears when it takes bytes again.
    this.#listen();
  }

  onData(chunk: Buffer): void {
    this.#fromServer.feed(chunk, this.#server!);
    if (this.#fromServer.hasTakenUp) this.#flight = undefined;
    if (this.#fromServer.hasFailedQuietly) return this.end(this.#o.describe(settingsLost()));
    this.#flush();
    if (this.#fromServer.fatal?.isBetweenTransactions && this.#fromClient.isBetweenMessages)
      this.#forgetServer();
    if (!this.#isStalled) return this.#giveBackWhenIdle();
    this.#isStalled = false;
    this.#fromClientData(NOTHING);
    this.#listen();
  }

  /** It said that it ends in one breath with its last answer: that is not the client's concern. */
  #forgetServer(): void {
    const server = this.#server!;
    this.#server = undefined;
    this.#c.server = undefined;
    this.#flight = undefined;
    this.#attempts = 0;
    this.#o.pool.discard(server);
    this.#listen();
  }

  onDrain(): void {
    this.#listen();
  }

  onClose(): void {
    const { fatal } = this.#fromServer;
    const server = this.#server!;
    this.#server = undefined;
    this.#c.server = undefined;
    const isUntouched = fatal ? fatal.isFirst && ENDS_SESSION.has(fatal.sqlstate) : server.tookNothing;
    if (this.#flight && isUntouched && this.#attempts < MAX_ATTEMPTS) return this.#tryAgain(this.#flight);
    this.end(fatal?.message ?? this.#o.describe(serverLost()));
  }

  /** The server was ending, it did nothing of the transaction: another does, once a message that came in part goes on. */
  #tryAgain(flight: readonly Buffer[]): void {
    const isInPart = !this.#fromClient.isBetweenMessages;
    this.#flight = undefined;
    this.#isStalled = false;
    this.#c.inFlight.takeBack();
    this.#c.unnamed = this.#unnamedBefore;
    this.#fromClient.restart(Buffer.concat(flight));
    if (isInPart) this.#listen();
    else this.#acquire();
  }
}

/** A copy where it would hold much more memory than its own. */
function kept(message: Buffer): Buffer | undefined {
  if (message.length > MAX_KEPT_BYTES) return undefined;
  return message.buffer.byteLength > 2 * message.length + 1_024 ? Buffer.from(message) : message;
}

function serverLost(): CoppiceError {
  return new CoppiceError(
    'Unavailable',
    'compute-gone',
    'the compute ended the connection in the middle of a transaction',
    {
      sqlstate: '08006',
      remedy: 'Connect again, and check whether the transaction was committed.',
    },
  );
}

function settingsLost(): CoppiceError {
  return new CoppiceError(
    'Unavailable',
    'settings-lost',
    'the settings of this session cannot be made again',
    {
      sqlstate: '08006',
      remedy: 'Connect again.',
    },
  );
}
