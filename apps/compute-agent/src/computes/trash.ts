import { renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log, Random } from '@coppice/service-kit';

/** Removes directories in the background, one at a time: a suspend does not wait until a thousand files are gone. */
export class Trash {
  readonly #directory: string;
  readonly #random: Random;
  readonly #log: Log;
  #work: Promise<void> = Promise.resolve();

  constructor(directory: string, random: Random, log: Log) {
    this.#directory = directory;
    this.#random = random;
    this.#log = log;
  }

  /** Takes `path` out of sight at once; it must be on the same file system. */
  discard(path: string): void {
    const away = join(this.#directory, `trash-${this.#random.bytes(6).toString('hex')}`);
    renameSync(path, away);
    this.#work = this.#work
      .then(() => rm(away, { recursive: true, force: true }))
      .catch((error: unknown) => this.#log.warn({ err: error, path: away }, 'a directory cannot be removed; the next start of the agent tries again'));
  }

  /** Resolves when everything discarded so far is gone. */
  async empty(): Promise<void> {
    await this.#work;
  }
}
