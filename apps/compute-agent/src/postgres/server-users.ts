import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { CoppiceError } from '@coppice/service-kit';
import type { ServerUser } from '../prepare/write-layout';

export interface ServerUsersOptions {
  /** Who runs `initdb`, which wants a user that the user database knows. */
  readonly initdb: ServerUser;
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
    return this.isRoot ? this.#options.initdb : undefined;
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

/** Throws when other users cannot pass through every directory down to `path`. */
export function assertReachable(path: string, remedy: string): void {
  for (let at = path; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) throw new CoppiceError('Invalid', 'unreachable-directory', `an unprivileged postgres cannot enter ${at}, which is above ${path}`, { remedy });
    if (dirname(at) === at) return;
  }
}
