import type { ReadWalRequest, WalChunk } from '@coppice/contracts';
import { anySignal, type Clock, CoppiceError } from '@coppice/service-kit';
import { formatLsn, minLsn, type Lsn } from '@coppice/vocabulary';
import { WalReader } from '../storage/wal-reader';
import type { Timeline } from '../timelines/timeline';

const CHUNK_BYTES = 128 * 1024;
/** A follower that has everything gets what is committed within this time together: a message costs more than its bytes. */
const FOLLOW_PAUSE_MS = 10;

/**
 * WAL from a position on. Committed WAL is followed until the caller goes away or `untilLsn` is reached; uncommitted WAL
 * is for the leader of a term that this log has taken, and ends where the log ends.
 */
export async function* readWal(
  timeline: Timeline,
  request: ReadWalRequest,
  caller: AbortSignal,
  clock: Clock,
): AsyncGenerator<WalChunk> {
  const { fromLsn, untilLsn, uncommitted } = request;
  if (fromLsn < timeline.startLsn) {
    const text = `${formatLsn(fromLsn)} is before the timeline's start ${formatLsn(timeline.startLsn)}`;
    throw new CoppiceError('Invalid', 'before-start', text, {
      remedy: 'Read it from the ancestor timeline.',
    });
  }
  const release = timeline.use();
  const reader = new WalReader(timeline.directory);
  const signal = anySignal([caller, timeline.over]);
  try {
    let at = fromLsn;
    if (!uncommitted && timeline.commitLsn <= at)
      yield { beginLsn: at, wal: Buffer.alloc(0), commitLsn: timeline.commitLsn };
    while (untilLsn === undefined || at < untilLsn) {
      if (!uncommitted && timeline.commitLsn <= at) {
        await timeline.committed((at + 1n) as Lsn, signal);
        await clock.sleep(FOLLOW_PAUSE_MS, signal);
      }
      signal.throwIfAborted();
      if (uncommitted) requireLeader(timeline, request);
      const available = uncommitted ? timeline.flushLsn : timeline.commitLsn;
      const end = untilLsn === undefined ? available : minLsn(available, untilLsn);
      if (end <= at) return;
      const wal = await reader.read(at, end, CHUNK_BYTES);
      if (uncommitted) requireLeader(timeline, request);
      yield { beginLsn: at, wal, commitLsn: timeline.commitLsn };
      at = (at + BigInt(wal.length)) as Lsn;
    }
  } finally {
    release();
    await reader.close();
  }
}

/** Checked after each read as well: the log may have been cut for another leader while the disk was read. */
function requireLeader({ state }: Timeline, { term }: ReadWalRequest): void {
  if (state.term === term && state.history.at(-1)!.term === term) return;
  if (state.term > term)
    throw new CoppiceError(
      'Fenced',
      'higher-term',
      `term ${state.term} is promised, the read is for term ${term}`,
    );
  throw new CoppiceError('NotYet', 'term-not-announced', `term ${term} was not announced here`);
}
