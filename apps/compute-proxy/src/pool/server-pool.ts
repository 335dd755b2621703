/**
 * Server connections that clients share, one after the other. A client takes one for a transaction and gives it back:
 *
 *   open ──► idle ◄──────────────── reset ◄───┐
 *             │ take                  ▲       │ something was left behind, or another client is next
 *             ▼                       │       │
 *            held ── checkin ─────────┴───────┘
 *             └──── anything doubtful ──► closed
 *
 * Who finds none waits in line, at most so many and so long. Idle connections keep no compute awake; one whose compute went away
 * is dropped, and the next transaction wakes the compute again.
 */
import {
  anySignal,
  BackgroundLoop,
  type Clock,
  CoppiceError,
  Counter,
  Gauge,
  type Log,
  part,
  type Part,
} from '@coppice/service-kit';
import { ServerRefused } from '../compute-connection';
import { endBackend } from '../end-backend';
import type { LiveCredentials } from '../live-credentials';
import { firstRow } from '../start-phases';
import type { TransferMeter } from '../transfer-meter';
import type { OpenedCompute } from '../wake-and-open';
import type { PoolTarget } from './pool-target';
import { PooledServer } from './pooled-server';
import { StatementMemory } from './prepared-statements';
import { Resets } from './resets';
import { ServerMessages } from './server-messages';
import { type EndpointServers, first, TargetServers } from './target-servers';
import { exhausted, SQLSTATE_TOO_MANY, standInLine } from './waiting-line';

const open = new Gauge({
  name: 'coppice_proxy_pool_servers',
  help: 'Pooled server connections that are open.',
});
const opened = new Counter({
  name: 'coppice_proxy_pool_opened_total',
  help: 'Pooled server connections that were opened.',
});
const dropped = new Counter({
  name: 'coppice_proxy_pool_dropped_total',
  help: 'Pooled server connections that were closed because their state was in doubt or their server went away.',
});

/** At once for one target: the compute has other things to do. */
const MAX_OPENING = 4;
const SWEEP_EVERY_MS = 500;
/** What a client may have left behind unseen, such as a lock taken by a function, is cleared when it stays away for this long. */
const STAYS_AWAY_MS = 1_000;

export interface ServerPoolOptions {
  /** Opens a session, waking the compute when it sleeps. */
  readonly open: (target: PoolTarget, signal: AbortSignal) => Promise<OpenedCompute>;
  readonly liveCredentials: Pick<LiveCredentials, 'add'>;
  readonly transfers: Pick<TransferMeter, 'add'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly maxServers: number;
  readonly maxServersPerEndpoint: number;
  readonly maxWaitingPerEndpoint: number;
  readonly waitTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** For prepared statements of pooled clients, bytes. */
  readonly maxStatementBytes: number;
}

export class ServerPool {
  readonly #o: ServerPoolOptions;
  readonly #endpoints = new Map<string, EndpointServers>();
  readonly #targets = new Map<string, TargetServers>();
  /** Endpoints that could open a connection if there were not so many in all. */
  readonly #starved = new Set<EndpointServers>();
  readonly #statements: StatementMemory;
  readonly #resets: Resets;
  readonly #stop = new AbortController();
  readonly #sweep: BackgroundLoop;
  #count = 0;

  constructor(options: ServerPoolOptions) {
    this.#o = options;
    this.#statements = new StatementMemory(options.maxStatementBytes);
    this.#resets = new Resets(options.clock, options.log);
    this.#sweep = new BackgroundLoop({
      name: 'close-idle-server-connections',
      everyMs: SWEEP_EVERY_MS,
      log: options.log,
      run: async () => this.sweep(),
    });
  }

  /** The servers of a target, for a client that will ask for them again and again; until it calls `leave`. */
  join(target: PoolTarget): TargetServers {
    let servers = this.#targets.get(target.key);
    if (!servers) {
      let endpoint = this.#endpoints.get(target.endpoint);
      if (!endpoint) {
        endpoint = {
          endpoint: target.endpoint,
          count: 0,
          targets: new Set(),
          waiters: new Set(),
          statements: this.#statements.share(),
        };
        this.#endpoints.set(target.endpoint, endpoint);
      }
      servers = new TargetServers(target, endpoint);
      endpoint.targets.add(servers);
      this.#targets.set(target.key, servers);
    }
    servers.users += 1;
    return servers;
  }

  leave(servers: TargetServers): void {
    servers.users -= 1;
    if (servers.users > 0) return;
    servers.statements.close();
    this.#targets.delete(servers.target.key);
    servers.endpoint.targets.delete(servers);
    if (servers.endpoint.targets.size === 0) this.#endpoints.delete(servers.endpoint.endpoint);
  }

  /**
   * A connection for one transaction: as it was opened, or as `owner` left it itself. Waits for one in line. The caller holds it
   * (`hold`, or `new ServerMessages`) until `checkin` or `discard`.
   */
  async checkout(
    target: PoolTarget,
    { owner, signal }: { readonly owner?: object; readonly signal: AbortSignal },
  ): Promise<PooledServer> {
    const servers = this.join(target);
    try {
      return this.take(servers, owner) ?? (await this.wait(servers, owner, signal));
    } finally {
      this.leave(servers);
    }
  }

  /** Checks a connection out for an exchange of messages, and in again when it ended between transactions. */
  async use<T>(
    target: PoolTarget,
    { signal, maxMessageBytes }: { readonly signal: AbortSignal; readonly maxMessageBytes: number },
    work: (messages: ServerMessages, server: PooledServer) => Promise<T>,
  ): Promise<T> {
    const server = await this.checkout(target, { signal });
    const messages = new ServerMessages(server, maxMessageBytes);
    try {
      return await work(messages, server);
    } finally {
      if (messages.isIdle && messages.isDrained) this.checkin(server);
      else this.discard(server);
    }
  }

  /** What can be had at once: one's own connection always, another when nobody was in line before. */
  take(servers: TargetServers, owner: object | undefined): PooledServer | undefined {
    const own = owner === undefined ? undefined : servers.takeOwn(owner);
    if (own || servers.waiters.size > 0) return own;
    return servers.takeClean()?.assign(owner);
  }

  /** Waits in line, at most so long. Rejects when the line is full, when time is up, or when the signal fires. */
  async wait(servers: TargetServers, owner: object | undefined, signal: AbortSignal): Promise<PooledServer> {
    signal.throwIfAborted();
    const { endpoint } = servers;
    if (endpoint.waiters.size >= this.#o.maxWaitingPerEndpoint)
      throw exhausted(`${endpoint.waiters.size} transactions wait for a pooled connection already`);
    const { waitTimeoutMs } = this.#o;
    const granted = standInLine(servers, owner, { signal, waitTimeoutMs, left: () => this.#trim(servers) });
    const other = servers.takeFromOther();
    if (other) this.#offer(servers, other);
    else this.#grow(servers);
    return granted;
  }

  /** Takes a connection back whose last message was ReadyForQuery outside of a transaction, with nothing under way. */
  checkin(server: PooledServer): void {
    const servers = this.#targets.get(server.target.key);
    if (!servers || server.isGone) return;
    server.letGo();
    this.#offer(servers, server);
  }

  /** Takes a connection back to which nothing was sent. */
  giveBackUnused(server: PooledServer): void {
    server.isDirty = false;
    this.checkin(server);
  }

  /** Takes a connection back that is in doubt. */
  discard(server: PooledServer): void {
    server.letGo();
    server.destroy();
  }

  /** Gives a server to the next who waits, or parks it. */
  #offer(servers: TargetServers, server: PooledServer): void {
    const { endpoint } = servers;
    const head = endpoint.waiters.size > 0 ? first(endpoint.waiters) : undefined;
    if (head && head.servers !== servers && head.servers.openings.size === 0 && !this.#hasRoom(endpoint)) {
      // Whoever waits for longest has no connection that could do: this one makes room.
      server.destroy();
      return;
    }
    const waiter = servers.waiters.size > 0 ? first(servers.waiters) : undefined;
    const isForOther = waiter && server.owner !== undefined && server.owner !== waiter.owner;
    if (server.isDirty || server.wasCancelled || isForOther) {
      void this.#resets.reset(servers, server).then((isReady) => isReady && this.#offer(servers, server));
      return;
    }
    if (waiter) return waiter.grant(server);
    server.idleSinceMs = this.#o.clock.monotonic();
    servers.park(server);
    if (this.#starved.size > 0) this.#slotFreed();
  }

  #hasRoom(endpoint: EndpointServers): boolean {
    return endpoint.count < this.#o.maxServersPerEndpoint && this.#count < this.#o.maxServers;
  }

  /** Opens connections for those who wait, as many as the bounds and those of others that are idle allow. */
  #grow(servers: TargetServers): void {
    const { endpoint } = servers;
    while (
      servers.waiters.size > servers.openings.size + servers.resetting &&
      servers.openings.size < MAX_OPENING
    ) {
      if (endpoint.count >= this.#o.maxServersPerEndpoint) {
        // When it has closed, this is called again.
        oldestOf(endpoint.targets)?.destroy();
        return;
      }
      if (this.#count >= this.#o.maxServers) {
        this.#starved.add(endpoint);
        oldestOf(this.#targets.values())?.destroy();
        return;
      }
      void this.#open(servers);
    }
    if (servers.waiters.size === 0) this.#starved.delete(endpoint);
  }

  async #open(servers: TargetServers): Promise<void> {
    const { target, endpoint } = servers;
    const opening = new AbortController();
    servers.openings.add(opening);
    servers.count += 1;
    endpoint.count += 1;
    this.#count += 1;
    servers.users += 1;
    open.inc();
    let server: PooledServer | undefined;
    const { clock } = this.#o;
    const wantedAt = clock.monotonic();
    try {
      const signal = anySignal([opening.signal, this.#stop.signal]);
      const connection = await this.#o.open(target, signal);
      opened.inc();
      const first = connection.started ? firstRow(clock, wantedAt) : undefined;
      server = new PooledServer(target, connection, first);
      this.#watch(servers, server);
      servers.greet(server);
    } catch (error) {
      servers.openings.delete(opening);
      const goesOn = opening.signal.aborted || this.#hasOthers(servers, error);
      if (!goesOn) for (const waiter of [...servers.waiters]) waiter.refuse(error);
      // What just failed is tried again by the sweep, not at once.
      this.#closed(servers, { grows: opening.signal.aborted || !goesOn });
      return;
    }
    servers.openings.delete(opening);
    this.#offer(servers, server);
    this.#grow(servers);
  }

  /** Whether those who wait may still get a connection when an opening failed. */
  #hasOthers({ count, endpoint }: TargetServers, error: unknown): boolean {
    if (count > 1) return true;
    // A full server with connections of ours will have room.
    const isFull = error instanceof ServerRefused && error.sqlstate === SQLSTATE_TOO_MANY;
    return isFull && endpoint.count > [...endpoint.targets].reduce((n, t) => n + t.openings.size, 1);
  }

  #watch(servers: TargetServers, server: PooledServer): void {
    const { connection, target } = server;
    const uncount = this.#o.transfers.add(target.endpoint, connection.socket);
    const unwatch = this.#o.liveCredentials.add({
      credentialId: target.credentialId,
      expiresUnixMs: target.expiresUnixMs,
      end: () => (servers.isIdle(server) ? server.destroy() : void this.#end(server)),
    });
    const onClose = (): void => {
      const wasIdle = servers.remove(server);
      if (!wasIdle) dropped.inc();
      uncount();
      unwatch();
      this.#closed(servers, { grows: true });
    };
    if (connection.socket.closed) onClose();
    else connection.socket.once('close', onClose);
  }

  /** The credential is over: whatever the backend does ends, too. */
  async #end(server: PooledServer): Promise<void> {
    const { address, backendPid } = server.connection;
    try {
      await endBackend(address, backendPid);
    } catch (error) {
      if (!server.isGone)
        this.#o.log.warn({ err: error }, 'a session that is over is cut off, its last statement may go on');
    } finally {
      server.destroy();
    }
  }

  #closed(servers: TargetServers, { grows }: { readonly grows: boolean }): void {
    servers.count -= 1;
    servers.endpoint.count -= 1;
    this.#count -= 1;
    open.dec();
    if (grows) this.#next(servers.endpoint);
    this.leave(servers);
    this.#slotFreed();
  }

  #slotFreed(): void {
    const starved = first(this.#starved);
    if (!starved) return;
    this.#starved.delete(starved);
    this.#next(starved);
  }

  #next(endpoint: EndpointServers): void {
    const head = first(endpoint.waiters);
    if (!head) return;
    this.#grow(head.servers);
    for (const other of endpoint.targets) if (other.waiters.size > 0) this.#grow(other);
  }

  /** Nobody waits for an opening any more: it is given up, so that a client that left wakes nothing. */
  #trim(servers: TargetServers): void {
    for (const opening of servers.openings) {
      if (servers.openings.size <= servers.waiters.size) return;
      opening.abort(
        new CoppiceError('Unavailable', 'not-needed', 'nobody waits for the connection any more'),
      );
      servers.openings.delete(opening);
    }
  }

  /** Closes what is idle for long, and clears what clients left that do not come back. */
  sweep(): void {
    const now = this.#o.clock.monotonic();
    this.#resets.endOverdue();
    for (const servers of this.#targets.values()) {
      for (const server of servers.idle())
        if (now - server.idleSinceMs >= this.#o.idleTimeoutMs) server.destroy();
      for (const server of servers.owned())
        if (now - server.idleSinceMs >= STAYS_AWAY_MS && servers.remove(server))
          void this.#clear(servers, server);
      if (servers.waiters.size > 0) this.#grow(servers);
    }
  }

  async #clear(servers: TargetServers, server: PooledServer): Promise<void> {
    const { idleSinceMs } = server;
    if (!(await this.#resets.reset(servers, server))) return;
    this.#offer(servers, server);
    server.idleSinceMs = idleSinceMs;
  }

  asPart(): Part {
    return part(
      'server pool',
      () => this.#sweep.start(),
      async () => {
        await this.#sweep.stop();
        this.#stop.abort();
        for (const servers of this.#targets.values()) for (const server of servers.idle()) server.destroy();
        this.#resets.endAll();
      },
    );
  }
}

function oldestOf(targets: Iterable<TargetServers>): PooledServer | undefined {
  let oldest: PooledServer | undefined;
  for (const target of targets) {
    const server = target.oldest();
    if (server && (!oldest || server.idleSinceMs < oldest.idleSinceMs)) oldest = server;
  }
  return oldest;
}
