/**
 * Cancel keys of the sessions of this proxy: clients get a key of ours, which stands for the backend's own.
 *
 *   pid     ┌─┬───────────┬────────────────────┐      secret  ┌────────────────────────────────┐
 *           │0│ proxy, 11 │     random, 20     │              │           random, 32           │
 *           └─┴───────────┴────────────────────┘              └────────────────────────────────┘
 *
 * `proxy` is the number under which other proxies find the one that serves the session, 0 when they do not. Keys themselves are in
 * the memory of that proxy only.
 */
import { connect } from 'node:net';
import type { Random } from '@coppice/service-kit';
import { after } from '@coppice/service-kit';
import { writeCancel } from '@coppice/postgres';

export interface CancelKey {
  readonly pid: number;
  readonly secret: Buffer;
}

/** A backend, by the key that it gave us itself. */
export interface CancelTarget extends CancelKey {
  readonly socketPath: string;
}

/** A session that is served by one backend after another. */
export interface MovingTarget {
  /** Cancels what the session does now, if anything. */
  cancel(): Promise<void>;
}

/** The other proxies. */
export interface OtherProxies {
  /** Of this proxy among them; 0 while it has none. */
  readonly ownNumber: number;
  /** Passes a request on to the proxy with this number, in the name of a client at `from`. Never rejects. */
  cancel(number: number, key: CancelKey, from: string): Promise<void>;
}

const CANCEL_MS = 5_000;
const RANDOM_PID_BITS = 20;
const SECRET_BYTES = 4;

/** The largest number that a proxy may have. */
export const MAX_PROXY_NUMBER = 2 ** (31 - RANDOM_PID_BITS) - 1;

function proxyNumberOf({ pid }: CancelKey): number {
  return pid >>> RANDOM_PID_BITS;
}

export class CancelKeys {
  readonly #targets = new Map<string, CancelTarget | MovingTarget>();
  readonly #random: Random;
  readonly #others: OtherProxies | undefined;

  constructor(random: Random, others?: OtherProxies) {
    this.#random = random;
    this.#others = others;
  }

  /** Makes a key for a backend, or for a session that has several. */
  add(target: CancelTarget | MovingTarget): CancelKey & { readonly remove: () => void } {
    const number = this.#others?.ownNumber ?? 0;
    for (;;) {
      const random = this.#random.bytes(4 + SECRET_BYTES);
      const pid = number * 2 ** RANDOM_PID_BITS + (random.readUInt32BE(0) >>> (32 - RANDOM_PID_BITS));
      const secret = random.subarray(4);
      const name = nameOf({ pid, secret });
      if (pid === 0 || this.#targets.has(name)) continue;
      this.#targets.set(name, target);
      return { pid, secret, remove: () => void this.#targets.delete(name) };
    }
  }

  /**
   * A request of a client at `from`, for a session here or at another proxy; an unknown key is ignored, as PostgreSQL does.
   * Resolves once the backend was told.
   */
  async cancel(key: CancelKey, from: string): Promise<void> {
    if (key.secret.length !== SECRET_BYTES || (await this.cancelHere(key))) return;
    const number = proxyNumberOf(key);
    if (this.#others && number > 0 && number <= MAX_PROXY_NUMBER && number !== this.#others.ownNumber)
      await this.#others.cancel(number, key, from);
  }

  /** A request for a session here, whatever number its key has. False: there is none with that key. */
  async cancelHere(key: CancelKey): Promise<boolean> {
    const target = this.#targets.get(nameOf(key));
    if (!target) return false;
    await ('cancel' in target ? target.cancel() : sendCancel(target));
    return true;
  }
}

function nameOf({ pid, secret }: CancelKey): string {
  return `${pid} ${secret.toString('hex')}`;
}

/** Resolves when PostgreSQL has sent the signal, which it says by closing the connection; with false when it may still be about to. */
export function sendCancel({ socketPath, pid, secret }: CancelTarget): Promise<boolean> {
  return new Promise<boolean>((resolve) => {
    const socket = connect(socketPath);
    let isLate = false;
    const stop = after(CANCEL_MS, () => {
      isLate = true;
      socket.destroy();
    });
    socket.on('connect', () => socket.end(writeCancel(pid, secret)));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      stop();
      resolve(!isLate);
    });
    socket.resume();
  });
}
