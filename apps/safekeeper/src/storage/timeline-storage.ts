/**
 * One timeline on disk:
 *
 *   <data>/timelines/<first 2 digits>/<timeline id>/control
 *                                                  /000000010000000000000001 …
 *
 * Once the timeline is deleted all of it is gone and its tombstone is left.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { AcceptorState, AcceptorStorage, LogEnd } from '@coppice/consensus';
import { CoppiceError, failpoint, writeDurableSync } from '@coppice/service-kit';
import { formatLsn, lsn, toLsnNumber, type Lsn, type TimelineId } from '@coppice/vocabulary';
import {
  DAMAGED_TIMELINE_REMEDY,
  decodeControlFile,
  encodeControlFile,
  type ControlFile,
  type PageserverPosition,
} from './control-file';
import { diskError, syncDirectorySync } from './disk';
import { recoverLog } from './recover-log';
import { WalLog } from './wal-log';

const NEVER_TOLD: PageserverPosition = { generation: 0, ingestedLsn: lsn(0), durableLsn: lsn(0) };

export function timelineDirectory(data: string, timeline: TimelineId): string {
  return join(data, 'timelines', timeline.slice(0, 2), timeline);
}

export function controlPath(data: string, timeline: TimelineId): string {
  return join(timelineDirectory(data, timeline), 'control');
}

export class TimelineStorage implements AcceptorStorage {
  readonly directory: string;
  readonly #log: WalLog;
  /** As it stands on disk; `undefined` while nothing does. */
  #control: ControlFile | undefined;
  pageserver: PageserverPosition;

  private constructor(directory: string, log: WalLog, control: ControlFile | undefined) {
    this.directory = directory;
    this.#log = log;
    this.#control = control;
    this.pageserver = control?.pageserver ?? NEVER_TOLD;
  }

  /** A timeline that is new here. Nothing is written before the first `save`. */
  static fresh(data: string, state: AcceptorState): TimelineStorage {
    const directory = timelineDirectory(data, state.timeline);
    const { startLsn, systemId } = state;
    return new TimelineStorage(
      directory,
      new WalLog({ directory, startLsn, systemId, end: startLsn }),
      undefined,
    );
  }

  /** Reads a timeline back; `undefined` when it is not here. Throws `Corrupt` when its log lost bytes that were durable. */
  static load(
    data: string,
    timeline: TimelineId,
  ): { storage: TimelineStorage; state: AcceptorState } | undefined {
    const directory = timelineDirectory(data, timeline);
    const path = controlPath(data, timeline);
    if (!existsSync(path)) return undefined;
    const control = decodeControlFile(readFileSync(path), path);
    const { state } = control;
    const end = state.deleted || control.sealed ? control.durableEnd : recoveredEnd(directory, control);
    const log = new WalLog({ directory, startLsn: state.startLsn, systemId: state.systemId, end });
    return { storage: new TimelineStorage(directory, log, control), state };
  }

  end(): LogEnd {
    return this.#log.end;
  }

  write(at: Lsn, bytes: Uint8Array): void {
    if (this.#control?.sealed) this.#replace({ ...this.#control, sealed: false });
    this.#log.write(at, bytes);
  }

  flush(): void {
    this.#log.flush();
    failpoint('safekeeper-after-flush');
  }

  /** Lowers the durable end on disk before the log shrinks below it: a crash in between must not look like damage. */
  truncate(to: Lsn): void {
    if (this.#control && to < this.#control.durableEnd)
      this.#replace({ ...this.#control, durableEnd: to, sealed: false });
    failpoint('safekeeper-before-truncate');
    this.#log.truncate(to);
    failpoint('safekeeper-after-truncate');
  }

  save(state: AcceptorState): void {
    this.#log.flush();
    failpoint('safekeeper-before-save');
    this.#replace({ state, durableEnd: this.end().recordEnd, sealed: false, pageserver: this.pageserver });
    failpoint('safekeeper-after-save');
  }

  /** Takes room ahead of a busy log. */
  prepareAhead(): void {
    this.#log.prepareAhead();
  }

  /** Closes in good order: the next load need not look for the log's end. */
  close(state: AcceptorState): void {
    const { written, recordEnd } = this.end();
    if (written > recordEnd) this.truncate(recordEnd);
    this.#log.flush();
    this.#log.close();
    const sealed: ControlFile = { state, durableEnd: recordEnd, sealed: true, pageserver: this.pageserver };
    if (this.#control && !(this.#control.sealed && sameStored(this.#control, sealed))) this.#replace(sealed);
  }

  /** Closes without a word: the disk is not trusted any more. */
  abandon(): void {
    try {
      this.#log.close();
    } catch {
      // The timeline is read anew from disk in any case.
    }
  }

  #replace(control: ControlFile): void {
    try {
      if (!this.#control) makeDirectory(this.directory);
      writeDurableSync(join(this.directory, 'control'), encodeControlFile(control));
    } catch (error) {
      throw diskError(`cannot save the state of timeline ${control.state.timeline}`, error);
    }
    this.#control = control;
  }
}

/**
 * Removes what is left of a timeline that has a tombstone. The control file goes last of the files: while it is there, the
 * directory is found and this is done again.
 */
export function removeTimeline(data: string, timeline: TimelineId): void {
  const directory = timelineDirectory(data, timeline);
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw diskError(`cannot remove timeline ${timeline}`, error);
  }
  try {
    for (const name of names) if (name !== 'control') rmSync(join(directory, name), { recursive: true });
    failpoint('safekeeper-wal-removed');
    rmSync(join(directory, 'control'), { force: true });
    failpoint('safekeeper-control-removed');
    rmdirSync(directory);
    syncDirectorySync(dirname(directory));
  } catch (error) {
    throw diskError(`cannot remove timeline ${timeline}`, error);
  }
}

function sameStored(a: ControlFile, b: ControlFile): boolean {
  return encodeControlFile(a).equals(encodeControlFile(b));
}

/** Creates the directory and makes its name durable, with those above that are new. */
function makeDirectory(directory: string): void {
  const first = mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = directory; made.length >= first.length; made = dirname(made))
    syncDirectorySync(dirname(made));
}

function recoveredEnd(directory: string, { state, durableEnd }: ControlFile): Lsn {
  const end = lsn(recoverLog(directory, toLsnNumber(state.commitLsn)));
  if (end >= durableEnd) return end;
  const text = `the WAL of timeline ${state.timeline} ends at ${formatLsn(end)}, it was durable up to ${formatLsn(durableEnd)}`;
  throw new CoppiceError('Corrupt', 'wal-damaged', text, {
    remedy: DAMAGED_TIMELINE_REMEDY,
  });
}
