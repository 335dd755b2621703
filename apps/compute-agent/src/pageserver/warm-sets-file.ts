/**
 * Warm sets survive a restart of the agent in a file of its own, written when it stops and every so often while they change.
 * Without the file, or with one that cannot be read, the first starts are slower and fill it again.
 */
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { BackgroundLoop, type Clock, type Log } from '@coppice/service-kit';
import { parseTimelineId } from '@coppice/vocabulary';
import type { WarmSets, WarmSetsSnapshot } from './warm-sets';

const SAVE_EVERY_MS = 30_000;

export interface WarmSetsFileOptions {
  readonly path: string;
  readonly sets: WarmSets;
  readonly clock: Clock;
  readonly log: Log;
}

export class WarmSetsFile {
  readonly #options: WarmSetsFileOptions;
  readonly #loop: BackgroundLoop;
  #saved = '';

  constructor(options: WarmSetsFileOptions) {
    this.#options = options;
    const { clock, log } = options;
    this.#loop = new BackgroundLoop({
      name: 'warm-sets',
      everyMs: SAVE_EVERY_MS,
      clock,
      log,
      run: () => this.save(),
    });
  }

  /** Takes what the file has, and keeps it up to date from now on. */
  start(): void {
    const { path, sets, log } = this.#options;
    try {
      this.#saved = readFileSync(path, 'utf8');
      sets.restore(parseSnapshot(this.#saved));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        log.warn({ err: error, path }, 'what starts want is learned anew');
    }
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.save();
  }

  /** Durability is not wanted: a lost file costs time, and a torn one is refused. */
  async save(): Promise<void> {
    const { path, sets } = this.#options;
    const text = JSON.stringify(sets.snapshot());
    if (text === this.#saved) return;
    await writeFile(`${path}.new`, text, { mode: 0o600 });
    await rename(`${path}.new`, path);
    this.#saved = text;
  }
}

/** Throws when it is not a snapshot. */
export function parseSnapshot(text: string): WarmSetsSnapshot {
  const found = JSON.parse(text) as Partial<WarmSetsSnapshot>;
  const isSet = (owner: (id: unknown) => boolean) => (entry: unknown) =>
    Array.isArray(entry) &&
    owner(entry[0]) &&
    Array.isArray(entry[1]) &&
    entry[1].every((key) => typeof key === 'string' && /^0[457][0-9a-f]{34}$/.test(key));
  const lineages = found.lineages?.every(isSet((id) => typeof id === 'string' && /^\d{1,20}$/.test(id)));
  const timelines = found.timelines?.every(
    isSet((id) => typeof id === 'string' && parseTimelineId(id) !== undefined),
  );
  if (!lineages || !timelines) throw new SyntaxError('the file is not of warm sets');
  return found as WarmSetsSnapshot;
}
