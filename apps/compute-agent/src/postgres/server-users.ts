import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { CoppiceError } from '@coppice/service-kit';
import type { ServerUser } from '../prepare/write-layout';

/** `nobody`: has an entry in the user database on every system, which `initdb` needs. */
const NOBODY: ServerUser = { uid: 65534, gid: 65534 };

export interface ServerUsersOptions {
  readonly firstUid: number;
  readonly count: number;
}

/**
 * Hands out unprivileged users, one per compute: PostgreSQL refuses root, and a compute that is broken into must not
 * reach its neighbours' files. An agent that is not root runs everything as itself.
 */
export class ServerUsers {
  readonly #options: ServerUsersOptions;
  readonly #taken = new Set<number>();

  constructor(options: ServerUsersOptions) {
    this.#options = options;
  }

  get isRoot(): boolean {
    return process.getuid?.() === 0;
  }

  /** Who may run `initdb`. */
  forInitdb(): ServerUser | undefined {
    return this.isRoot ? NOBODY : undefined;
  }

  take(): ServerUser | undefined {
    if (!this.isRoot) return undefined;
    const { firstUid, count } = this.#options;
    for (let uid = firstUid; uid < firstUid + count; uid++) {
      if (this.#taken.has(uid)) continue;
      this.#taken.add(uid);
      return { uid, gid: uid };
    }
    throw new CoppiceError('Unavailable', 'agent-full', `all ${count} compute users of this agent are taken`, { remedy: 'Stop computes or add an agent.' });
  }

  give(user: ServerUser | undefined): void {
    if (user) this.#taken.delete(user.uid);
  }
}

/** Throws when a user other than ours cannot pass through every directory down to `path`. */
export function assertReachable(path: string, isRoot: boolean, remedy: string): void {
  for (let at = path; ; at = dirname(at)) {
    const passes = isRoot ? (statSync(at).mode & 0o001) !== 0 : canEnter(at);
    if (!passes) throw new CoppiceError('Invalid', 'unreachable-directory', `an unprivileged postgres cannot enter ${at}, which is above ${path}`, { remedy });
    if (dirname(at) === at) return;
  }
}

function canEnter(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
