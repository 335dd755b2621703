import { connect } from 'node:net';
import type { Random } from '@coppice/service-kit';
import { after } from '@coppice/service-kit';
import { writeCancel } from '@coppice/postgres';

/** A backend, by the key that it gave us itself. */
export interface CancelTarget {
  readonly socketPath: string;
  readonly pid: number;
  readonly secret: Buffer;
}

/** A session that is served by one backend after another. */
export interface MovingTarget {
  /** Cancels what the session does now, if anything. */
  cancel(): Promise<void>;
}

const CANCEL_MS = 5_000;

/** Cancel keys of the sessions of this proxy: clients get a key of ours, which stands for the backend's own. */
export class CancelKeys {
  readonly #targets = new Map<string, CancelTarget | MovingTarget>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Makes a key for a backend, or for a session that has several. */
  add(target: CancelTarget | MovingTarget): {
    readonly pid: number;
    readonly secret: Buffer;
    readonly remove: () => void;
  } {
    for (;;) {
      const key = this.#random.bytes(8);
      const name = key.toString('hex');
      if (this.#targets.has(name)) continue;
      this.#targets.set(name, target);
      return {
        pid: key.readUInt32BE(0),
        secret: key.subarray(4),
        remove: () => void this.#targets.delete(name),
      };
    }
  }

  /** Passes a cancel request on; an unknown key is ignored, as PostgreSQL does. Resolves once the backend was told. */
  async cancel(pid: number, secret: Buffer): Promise<void> {
    const key = Buffer.alloc(4 + secret.length);
    key.writeUInt32BE(pid, 0);
    secret.copy(key, 4);
    const target = this.#targets.get(key.toString('hex'));
    if (!target) return;
    await ('cancel' in target ? target.cancel() : sendCancel(target));
  }
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
