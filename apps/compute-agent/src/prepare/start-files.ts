import { closeSync, fchownSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Checkpoint, encodeControlFile, shutDownControlFile, shutdownCheckpointRecord, type WalSegmentFile } from '@coppice/postgres';
import { toLsnNumber } from '@coppice/vocabulary';
import type { ComputeImage } from './compute-image';
import { type ConfigurationOptions, controlSettings } from './settings';
import { type ServerUser, writeNewFile } from './write-layout';

export interface StartFilesOptions {
  readonly image: ComputeImage;
  readonly configuration: ConfigurationOptions;
  readonly nowSeconds: bigint;
  /** 32 random bytes. */
  readonly nonce: Buffer;
}

/** Makes the server believe that it was shut down at S: `pg_control`, and the segment with the record that says so. */
export function writeStartFiles(dataDirectory: string, options: StartFilesOptions, user: ServerUser | undefined): void {
  const { image, configuration, nowSeconds, nonce } = options;
  const settings = controlSettings(configuration);
  const start = shutdownCheckpointRecord({
    at: toLsnNumber(image.lsn),
    previous: image.previousRecordLsn === undefined ? undefined : toLsnNumber(image.previousRecordLsn),
    checkpoint: checkpointOf(image, settings.walLevel, nowSeconds),
    systemIdentifier: image.systemIdentifier,
  });
  for (const segment of start.segments) writeSegment(join(dataDirectory, 'pg_wal', segment.name), segment, user);
  const control = shutDownControlFile({ systemIdentifier: image.systemIdentifier, checkpoint: start.checkpoint, settings, nonce });
  writeNewFile(join(dataDirectory, 'global', 'pg_control'), encodeControlFile(control), user);
}

function checkpointOf({ checkpoint: c }: ComputeImage, walLevel: number, time: bigint): Checkpoint {
  return {
    redo: 0,
    timelineNumber: 1,
    previousTimelineNumber: 1,
    fullPageWrites: false,
    walLevel,
    nextXid: c.nextFullXid,
    nextOid: c.nextOid,
    nextMulti: c.nextMulti,
    nextMultiOffset: c.nextMultiOffset,
    oldestXid: c.oldestXid,
    oldestXidDb: c.oldestXidDatabase,
    oldestMulti: c.oldestMulti,
    oldestMultiDb: c.oldestMultiDatabase,
    time,
    oldestCommitTsXid: c.oldestCommitTsXid,
    newestCommitTsXid: c.newestCommitTsXid,
    oldestActiveXid: 0,
  };
}

function writeSegment(path: string, segment: WalSegmentFile, user: ServerUser | undefined): void {
  const fd = openSync(path, 'wx', 0o600);
  try {
    ftruncateSync(fd, segment.size);
    for (const { offset, bytes } of segment.pieces) writeSync(fd, bytes, 0, bytes.length, offset);
    if (user) fchownSync(fd, user.uid, user.gid);
  } finally {
    closeSync(fd);
  }
}
