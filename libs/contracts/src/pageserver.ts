/** The pageserver's contract as models. Prose and units: protos/pageserver.proto. */
import type { CoppiceError } from '@coppice/service-kit';
import { asCoppiceError, CoppiceError as CoppiceErrorClass, ERROR_KINDS } from '@coppice/service-kit';
import type { ErrorKind } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import type { Model } from './rpc/codec';
import {
  bool,
  bytes,
  int64,
  lsnField,
  message,
  number,
  oneOf,
  optional,
  optionalLsn,
  pageKey,
  repeated,
  safeInt,
  text,
  timelineId,
  union,
} from './rpc/codec';
import { bidi, clientStream, defineService, serverStream, unary } from './rpc/service';

const failure = message({ kind: text, code: text, message: text, remedy: text });
export type Failure = Model<typeof failure>;

/** An error as it travels inside a message. */
export function toFailure(error: unknown): Failure {
  const known = asCoppiceError(error);
  return { kind: known.kind, code: known.code, message: known.message, remedy: known.remedy ?? '' };
}

export function fromFailure(wire: Failure): CoppiceError {
  const kind: ErrorKind = wire.kind in ERROR_KINDS ? (wire.kind as ErrorKind) : 'Internal';
  return new CoppiceErrorClass(kind, wire.code, wire.message, wire.remedy ? { remedy: wire.remedy } : {});
}

const pagesRequest = message({ id: number, timelineId, lsn: lsnField, keys: repeated(pageKey) });
export type PagesRequest = Model<typeof pagesRequest>;
const pagesResponse = message({ id: number, pages: repeated(bytes), failure: optional(failure) });
export type PagesResponse = Model<typeof pagesResponse>;
/** Most keys that one pages request may name. */
export const MAX_KEYS_PER_REQUEST = 256;

const checkpointFields = message({
  nextFullXid: int64,
  nextOid: number,
  nextMulti: number,
  nextMultiOffset: number,
  oldestXid: number,
  oldestXidDatabase: number,
  oldestMulti: number,
  oldestMultiDatabase: number,
  oldestCommitTsXid: number,
  newestCommitTsXid: number,
});
export type CheckpointFields = Model<typeof checkpointFields>;

const imageHeader = message({
  lsn: lsnField,
  previousRecordLsn: optionalLsn,
  systemIdentifier: int64,
  checkpoint: checkpointFields,
  logicalBlocks: safeInt,
  logicalIsEstimate: bool,
});
const databaseDirectory = message({ tablespace: number, database: number, relationMap: bytes });
const relationForks = message({
  tablespace: repeated(number),
  database: repeated(number),
  relation: repeated(number),
  fork: repeated(number),
  blocks: repeated(number),
});
const initFork = message({ tablespace: number, database: number, relation: number, pages: bytes });
const slruSegments = message({ slru: repeated(number), segment: repeated(number), pages: repeated(number) });
const smallFile = message({ path: text, content: bytes });
const replicationOrigin = message({ originId: number, remoteLsn: lsnField });
const pageSet = message({ keys: repeated(pageKey), pages: repeated(bytes) });

const computeImagePart = union({
  header: imageHeader,
  database: databaseDirectory,
  relations: relationForks,
  initFork,
  slruSegments,
  file: smallFile,
  origin: replicationOrigin,
  warmPages: pageSet,
});
export type ComputeImagePart = Model<typeof computeImagePart>;
export type ImageHeader = Model<typeof imageHeader>;
export type DatabaseDirectory = Model<typeof databaseDirectory>;
export type RelationForks = Model<typeof relationForks>;
export type InitFork = Model<typeof initFork>;
export type SlruSegments = Model<typeof slruSegments>;
export type SmallFile = Model<typeof smallFile>;
export type ReplicationOrigin = Model<typeof replicationOrigin>;
export type PageSet = Model<typeof pageSet>;

const relationsPart = union({ relations: relationForks, initFork });
export type RelationsPart = Model<typeof relationsPart>;

const timelineAtLsn = message({ timelineId, lsn: lsnField });
const computeImageRequest = message({
  timelineId,
  lsn: lsnField,
  wanted: repeated(pageKey),
  allRelations: bool,
});
export type ComputeImageRequest = Model<typeof computeImageRequest>;
/** Most keys that a request for an image may name. */
export const MAX_WANTED_KEYS = 1024;
const relationsRequest = message({
  timelineId,
  lsn: lsnField,
  tablespace: number,
  database: number,
  relation: number,
});
const timelineOnly = message({ timelineId });
const lsnAtTimeRequest = message({ timelineId, unixMicros: int64, upToLsn: optionalLsn });
const lsnAtTimeResponse = message({ lsn: lsnField, commitUnixMicros: int64 });
const timelineStatus = message({
  ingestedLsn: lsnField,
  durableLsn: lsnField,
  logicalSizeBytes: safeInt,
  writtenWalBytes: safeInt,
  layers: number,
  ownBytes: safeInt,
  logicalSizeIsEstimate: bool,
});
export type PageserverTimelineStatus = Model<typeof timelineStatus>;

const timelineSizes = message({
  timelineId,
  state: oneOf('SIZES_STATE', ['known', 'unknown', 'deleted', 'unreadable']),
  ingestedLsn: lsnField,
  logicalSizeBytes: safeInt,
  logicalSizeIsEstimate: bool,
  ownBytes: safeInt,
  writtenWalBytes: safeInt,
  growthBytes: safeInt,
});
export type TimelineSizes = Model<typeof timelineSizes>;
/** Most timelines that one request for sizes may name. */
export const MAX_SIZES_PER_REQUEST = 500;

const orphanedObject = message({ name: text, bytes: safeInt, why: text, removed: bool });
export type OrphanedObject = Model<typeof orphanedObject>;

const importPart = union({ header: message({ timelineId }), chunk: message({ path: text, content: bytes }) });
export type ImportPart = Model<typeof importPart>;
const importResult = message({ lsn: lsnField, systemIdentifier: int64 });
export type ImportResult = Model<typeof importResult>;

/** The timeline that a request names. */
const timeline = (request: { readonly timelineId: TimelineId }): TimelineId => request.timelineId;

export const pageserverContract = defineService(
  'pageserver.proto',
  'coppice.pageserver.v1.Pageserver',
  {
    getPages: bidi(pagesRequest, pagesResponse),
    getComputeImage: serverStream(computeImageRequest, computeImagePart, 30_000),
    getRelations: serverStream(relationsRequest, relationsPart, 30_000),
    lsnAtTime: unary(lsnAtTimeRequest, lsnAtTimeResponse, 30_000),
    getTimelineStatus: unary(timelineOnly, timelineStatus),
    waitForLsn: unary(timelineAtLsn, timelineStatus, 30_000),
    importTimeline: clientStream(importPart, importResult, 120_000),
    listTimelines: unary(
      message({ cursor: text, limit: number }),
      message({ timelineIds: repeated(timelineId), nextCursor: text }),
      30_000,
    ),
    deleteTimeline: unary(timelineOnly, message({ removedObjects: number, removedBytes: safeInt }), 60_000),
    getTimelineSizes: unary(
      message({ timelineIds: repeated(timelineId) }),
      message({ sizes: repeated(timelineSizes) }),
      30_000,
    ),
    sweepOrphanedObjects: unary(
      message({ dryRun: bool, olderThanMs: safeInt, limit: number, cursor: text }),
      message({ objects: repeated(orphanedObject), timelines: number, nextCursor: text }),
      60_000,
    ),
  },
  {
    getPages: { services: ['compute', 'lakehouse-sync'], timeline },
    getComputeImage: { services: ['compute', 'lakehouse-sync'], timeline },
    getRelations: { services: ['compute', 'lakehouse-sync'], timeline },
    lsnAtTime: ['control-plane'],
    getTimelineStatus: { services: ['control-plane', 'compute'], timeline },
    waitForLsn: ['control-plane', 'lakehouse-sync'],
    importTimeline: {
      services: ['compute'],
      timeline: (part) => (part.kind === 'header' ? part.value.timelineId : undefined),
    },
    listTimelines: ['control-plane', 'operator'],
    deleteTimeline: ['control-plane'],
    getTimelineSizes: ['control-plane', 'operator'],
    sweepOrphanedObjects: ['control-plane', 'operator'],
  },
);
