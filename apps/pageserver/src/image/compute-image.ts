/**
 * What a compute starting at S lays out before PostgreSQL runs, as parts of a stream:
 *
 *   header       checkpoint fields, start of the record before S
 *   databases    with their relation maps; `global/` is tablespace 1664, database 0
 *   SLRUs        segments with their sizes
 *   small files  prepared transactions, carried files
 *   origins
 *
 * and of what the compute names, because its start will probably touch it (relations.ts, wanted.ts):
 *
 *   relations    every fork with its size, in batches; init forks whole
 *   warm pages
 *
 * It asks for other relations and pages when it first touches them, so that no part of a start grows with the database.
 */
import { crc32c } from '@coppice/bytes';
import type { ComputeImagePart } from '@coppice/contracts';
import {
  decodeCarriedFile,
  decodeCheckpointState,
  decodeOriginProgress,
  decodeSlruSegmentSize,
  nextFullXid,
} from '@coppice/postgres';
import type { CheckpointState } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import {
  BLOCK_SIZE,
  CHECKPOINT_KEY,
  KeyKind,
  formatLsn,
  lsn as toLsn,
  pageKeyFields,
  relationMapKey,
} from '@coppice/vocabulary';
import type { KeyKindNumber, LsnNumber, PageKey } from '@coppice/vocabulary';
import { kindRange } from '../ingest/key-ranges';
import type { TimelineView } from '../ingest/ingest-target';
import type { LogicalSize } from '../read/logical-size';

/** Statistics belong to the moment at which they were written: only a start right after a shutdown may use them. */
const STATISTICS_FILE = 'pg_stat/pgstat.stat';

export interface ImagePosition {
  readonly lsn: LsnNumber;
  /** Start of the record that ends at `lsn`, where the caller knows it. */
  readonly lastRecordLsn?: LsnNumber | undefined;
  readonly logicalSize: LogicalSize;
}

/** The image of the timeline at the end of a record that is ingested, without relations. */
export async function* computeImage(view: TimelineView, at: ImagePosition): AsyncIterable<ComputeImagePart> {
  const state = await checkpointAt(view, at.lsn);
  yield headerOf(state, at);
  yield* databases(view, at.lsn);
  yield* slruSegments(view, at.lsn);
  yield* preparedTransactions(view, at.lsn);
  yield* carriedFiles(view, at.lsn, state.recordEndLsn === at.lsn);
  yield* origins(view, at.lsn);
}

async function checkpointAt(view: TimelineView, lsn: LsnNumber): Promise<CheckpointState> {
  const bytes = await view.read(CHECKPOINT_KEY, lsn);
  if (bytes) return decodeCheckpointState(bytes);
  throw new CoppiceError(
    'NotFound',
    'no-checkpoint',
    `the timeline has no checkpoint state at ${formatLsn(lsn)}`,
    {
      remedy: 'Ask for a position within its history.',
    },
  );
}

function headerOf(state: CheckpointState, at: ImagePosition): ComputeImagePart {
  const previous = at.lastRecordLsn ?? (state.recordEndLsn === at.lsn ? state.recordLsn : 0);
  return {
    kind: 'header',
    value: {
      lsn: toLsn(at.lsn),
      previousRecordLsn: previous > 0 ? toLsn(previous) : undefined,
      systemIdentifier: state.systemIdentifier,
      checkpoint: {
        nextFullXid: nextFullXid(state),
        nextOid: state.nextOid,
        nextMulti: state.nextMulti,
        nextMultiOffset: state.nextMultiOffset,
        oldestXid: state.oldestXid,
        oldestXidDatabase: state.oldestXidDb,
        oldestMulti: state.oldestMulti,
        oldestMultiDatabase: state.oldestMultiDb,
        oldestCommitTsXid: state.oldestCommitTsXid,
        newestCommitTsXid: state.newestCommitTsXid,
      },
      logicalBlocks: at.logicalSize.bytes / BLOCK_SIZE,
      logicalIsEstimate: at.logicalSize.isEstimate,
    },
  };
}

function scanKind(
  view: TimelineView,
  kind: KeyKindNumber,
  lsn: LsnNumber,
): AsyncIterable<readonly [PageKey, Buffer]> {
  const [from, to] = kindRange(kind);
  return view.scan(from, to, lsn);
}

async function* databases(view: TimelineView, lsn: LsnNumber): AsyncIterable<ComputeImagePart> {
  for await (const [key] of scanKind(view, KeyKind.database, lsn)) {
    const { tablespace, database } = pageKeyFields(key);
    const relationMap = (await view.read(relationMapKey(tablespace, database), lsn)) ?? Buffer.alloc(0);
    yield { kind: 'database', value: { tablespace, database, relationMap } };
  }
}

async function* slruSegments(view: TimelineView, lsn: LsnNumber): AsyncIterable<ComputeImagePart> {
  const slru: number[] = [];
  const segment: number[] = [];
  const pages: number[] = [];
  for await (const [key, bytes] of scanKind(view, KeyKind.slruSegmentSize, lsn)) {
    const fields = pageKeyFields(key);
    slru.push(fields.tablespace);
    segment.push(fields.block);
    pages.push(decodeSlruSegmentSize(bytes));
  }
  yield { kind: 'slruSegments', value: { slru, segment, pages } };
}

/** The state file is the prepare record's content and its CRC-32C (`RecreateTwoPhaseFile`, twophase.c). */
async function* preparedTransactions(view: TimelineView, lsn: LsnNumber): AsyncIterable<ComputeImagePart> {
  for await (const [key, state] of scanKind(view, KeyKind.twoPhase, lsn)) {
    const { relation: epoch, block: xid } = pageKeyFields(key);
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32LE(crc32c(state));
    yield {
      kind: 'file',
      value: { path: `pg_twophase/${hex(epoch)}${hex(xid)}`, content: Buffer.concat([state, checksum]) },
    };
  }
}

function hex(word: number): string {
  return word.toString(16).toUpperCase().padStart(8, '0');
}

async function* carriedFiles(
  view: TimelineView,
  lsn: LsnNumber,
  afterShutdown: boolean,
): AsyncIterable<ComputeImagePart> {
  for await (const [, bytes] of scanKind(view, KeyKind.carriedFile, lsn)) {
    const file = decodeCarriedFile(bytes);
    if (file.path === STATISTICS_FILE && !afterShutdown) continue;
    yield { kind: 'file', value: file };
  }
}

async function* origins(view: TimelineView, lsn: LsnNumber): AsyncIterable<ComputeImagePart> {
  for await (const [key, bytes] of scanKind(view, KeyKind.replicationOrigin, lsn)) {
    yield {
      kind: 'origin',
      value: { originId: pageKeyFields(key).block, remoteLsn: toLsn(decodeOriginProgress(bytes)) },
    };
  }
}
