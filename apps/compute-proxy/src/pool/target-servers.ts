import type { PooledServer } from './pooled-server';
import type { PoolTarget } from './pool-target';
import { StatementRegistry, type StatementShare } from './prepared-statements';
import type { ReportedSettings } from './reported-settings';

export interface Waiter {
  readonly servers: TargetServers;
  readonly owner: object | undefined;
  readonly grant: (server: PooledServer) => void;
  readonly refuse: (error: unknown) => void;
}

/** All server connections of one endpoint, whatever they are for, share its bound. */
export interface EndpointServers {
  readonly endpoint: string;
  /** Open, or being opened. */
  count: number;
  readonly targets: Set<TargetServers>;
  readonly statements: StatementShare;
  /** First come, first served. */
  readonly waiters: Set<Waiter>;
}

/** The connections that may stand in for each other, and who waits for one. */
export class TargetServers {
  readonly target: PoolTarget;
  readonly endpoint: EndpointServers;
  readonly waiters = new Set<Waiter>();
  readonly statements: StatementRegistry;
  readonly openings = new Set<AbortController>();
  /** Open, or being opened. */
  count = 0;
  /** Connections that are about to be ready. */
  resetting = 0;
  /** Clients and connections that refer to this. */
  users = 0;
  /** None is open yet, and some are on their way. */
  get isWaking(): boolean {
    return this.openings.size > 0 && this.openings.size === this.count;
  }

  /** What a new session is told about its settings; known once a connection was open. */
  greeting: ReportedSettings | undefined;
  /** Ready for anybody; the one used last comes last, and is used first, so that those not needed are closed in time. */
  readonly #clean: PooledServer[] = [];
  /** Ready for the one who used it last, in need of a reset for others; by their owner, the one used last comes last. */
  readonly #owned = new Map<object, PooledServer>();

  constructor(target: PoolTarget, endpoint: EndpointServers) {
    this.statements = new StatementRegistry(endpoint.statements);
    this.target = target;
    this.endpoint = endpoint;
  }

  /** What a server reports is shared by all that say the same, so that to compare is to compare references. */
  greet(server: PooledServer): void {
    const known = this.greeting;
    const isSame =
      known?.size === server.reported.size &&
      [...known].every(([name, value]) => server.reported.get(name) === value);
    if (isSame) server.reported = known;
    else this.greeting = server.reported;
  }

  park(server: PooledServer): void {
    if (server.owner === undefined) this.#clean.push(server);
    else this.#owned.set(server.owner, server);
  }

  /** The idle connection that this owner used last. It has one at most, since it is asked for this first. */
  takeOwn(owner: object): PooledServer | undefined {
    const own = this.#owned.get(owner);
    this.#owned.delete(owner);
    return own?.isGone ? undefined : own;
  }

  /** An idle connection that anybody can use as it is. */
  takeClean(): PooledServer | undefined {
    let server = this.#clean.pop();
    while (server?.isGone) server = this.#clean.pop();
    return server;
  }

  /** The idle connection of another owner that was not used for longest. */
  takeFromOther(): PooledServer | undefined {
    for (const [owner, server] of this.#owned) {
      this.#owned.delete(owner);
      if (!server.isGone) return server;
    }
    return undefined;
  }

  /** Whether it was idle. */
  remove(server: PooledServer): boolean {
    const { owner } = server;
    if (owner !== undefined) return this.#owned.get(owner) === server && this.#owned.delete(owner);
    const at = this.#clean.indexOf(server);
    if (at >= 0) this.#clean.splice(at, 1);
    return at >= 0;
  }

  isIdle(server: PooledServer): boolean {
    const { owner } = server;
    return owner === undefined ? this.#clean.includes(server) : this.#owned.get(owner) === server;
  }

  idle(): PooledServer[] {
    return [...this.#clean, ...this.#owned.values()];
  }

  owned(): PooledServer[] {
    return [...this.#owned.values()];
  }

  /** The one that is idle for longest. */
  oldest(): PooledServer | undefined {
    const [clean, owned] = [this.#clean[0], first(this.#owned.values())];
    if (!clean || !owned) return clean ?? owned;
    return clean.idleSinceMs <= owned.idleSinceMs ? clean : owned;
  }
}

export function first<T>(items: Iterable<T>): T | undefined {
  for (const item of items) return item;
  return undefined;
}
