import { shutdownCheckpointRecord, type Checkpoint } from '@coppice/postgres';
import { lsn, toLsnNumber, type Lsn } from '@coppice/vocabulary';

export const SYSTEM_ID = 7123456789012345678n;

export interface SyntheticWal {
  readonly bytes: Buffer;
  /** Where each record ends. */
  readonly ends: readonly Lsn[];
  /** Where the last record starts: `previous` of what follows. */
  readonly lastStart: number;
}

/** Sound WAL of `count` checkpoint records from `at` on, page headers included; another `salt` makes other bytes. */
export function syntheticWal(at: Lsn, count: number, salt: number, before?: number): SyntheticWal {
  const parts: Buffer[] = [];
  const ends: Lsn[] = [];
  let position = toLsnNumber(at);
  let previous = before;
  for (let i = 0; i < count; i++) {
    const record = shutdownCheckpointRecord({
      at: position,
      previous,
      checkpoint: checkpoint(salt * 100_000 + i),
      systemIdentifier: SYSTEM_ID,
    });
    parts.push(record.bytes);
    previous = record.startLsn;
    position = record.endLsn;
    ends.push(lsn(position));
  }
  return { bytes: Buffer.concat(parts), ends, lastStart: previous! };
}

function checkpoint(nextOid: number): Checkpoint {
  return {
    redo: 0,
    timelineNumber: 1,
    previousTimelineNumber: 1,
    fullPageWrites: false,
    walLevel: 1,
    nextXid: 742n,
    nextOid,
    nextMulti: 1,
    nextMultiOffset: 0,
    oldestXid: 730,
    oldestXidDb: 1,
    oldestMulti: 1,
    oldestMultiDb: 1,
    time: 1_700_000_000n,
    oldestCommitTsXid: 0,
    newestCommitTsXid: 0,
    oldestActiveXid: 0,
  };
}
