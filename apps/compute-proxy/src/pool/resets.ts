import type { Clock, Log } from '@coppice/service-kit';
import type { PooledServer } from './pooled-server';
import { resetServer } from './reset-server';
import type { TargetServers } from './target-servers';

const RESET_MS = 5_000;

/** Server connections that are being made as new, each in so much time or not at all. */
export class Resets {
  readonly #clock: Clock;
  readonly #log: Log;
  /** Since when. */
  readonly #under = new Map<PooledServer, number>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Whether it can be used again; if not it is closed. No request to cancel is on its way to it afterwards. */
  async reset(servers: TargetServers, server: PooledServer): Promise<boolean> {
    servers.resetting += 1;
    this.#under.set(server, this.#clock.monotonic());
    try {
      if (server.isBeingCancelled) await server.cancelled();
      await resetServer(server);
      server.letGo();
      return !server.isGone;
    } catch (error) {
      if (!server.isGone)
        this.#log.debug({ err: error }, 'a pooled server connection is not reset, closes it');
      server.destroy();
      return false;
    } finally {
      this.#under.delete(server);
      servers.resetting -= 1;
    }
  }

  endOverdue(): void {
    const now = this.#clock.monotonic();
    for (const [server, since] of this.#under) if (now - since >= RESET_MS) server.destroy();
  }

  endAll(): void {
    for (const server of this.#under.keys()) server.destroy();
  }
}
