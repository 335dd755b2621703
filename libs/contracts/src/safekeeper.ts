/** The safekeeper's contract as models. Prose: protos/safekeeper.proto; protocol: libs/consensus. */
import type { Model } from './rpc/codec';
import {
  bool,
  bytes,
  empty,
  generationField,
  int64,
  lsnField,
  message,
  number,
  oneOf,
  optionalLsn,
  repeated,
  safeInt,
  termField,
  text,
  timelineId,
  union,
} from './rpc/codec';
import { bidi, defineService, serverStream, unary } from './rpc/service';

const termSwitch = message({ term: termField, lsn: lsnField });
export type TermSwitchMessage = Model<typeof termSwitch>;

const membership = message({ generation: number, members: repeated(text), newMembers: repeated(text) });

const proposerMessage = union({
  greeting: message({
    timelineId,
    startLsn: lsnField,
    systemIdentifier: int64,
    pgVersion: number,
    membership,
    proposerId: text,
  }),
  voteRequest: message({ term: termField, membershipGeneration: number, proposerId: text }),
  elected: message({
    term: termField,
    startStreamingLsn: lsnField,
    termHistory: repeated(termSwitch),
    membershipGeneration: number,
    proposerId: text,
  }),
  append: message({
    term: termField,
    beginLsn: lsnField,
    commitLsn: lsnField,
    truncateLsn: lsnField,
    wal: bytes,
    membershipGeneration: number,
  }),
});
export type ProposerWireMessage = Model<typeof proposerMessage>;

const acceptorMessage = union({
  greeting: message({ safekeeperId: text, term: termField, membership }),
  voteResponse: message({
    term: termField,
    granted: bool,
    flushLsn: lsnField,
    commitLsn: lsnField,
    termHistory: repeated(termSwitch),
    membershipGeneration: number,
    truncateLsn: lsnField,
  }),
  appendResponse: message({
    term: termField,
    flushLsn: lsnField,
    commitLsn: lsnField,
    membershipGeneration: number,
    pageserverIngestedLsn: lsnField,
    pageserverDurableLsn: lsnField,
  }),
  refused: message({
    term: termField,
    membershipGeneration: number,
    reason: oneOf('REFUSAL_REASON', [
      'term',
      'membership',
      'out-of-step',
      'wrong-timeline',
      'deleted',
      'storage',
      'broken',
    ]),
    detail: text,
  }),
});
export type AcceptorWireMessage = Model<typeof acceptorMessage>;

const readWalRequest = message({
  timelineId,
  fromLsn: lsnField,
  untilLsn: optionalLsn,
  uncommitted: bool,
  term: termField,
});
export type ReadWalRequest = Model<typeof readWalRequest>;
const walChunk = message({ beginLsn: lsnField, wal: bytes, commitLsn: lsnField });
export type WalChunk = Model<typeof walChunk>;

const timelineAdvance = message({ timelineId, commitLsn: lsnField, changedUnixMs: safeInt });
export type TimelineAdvance = Model<typeof timelineAdvance>;
const timelineOnly = message({ timelineId });
const timelineStatus = message({
  term: termField,
  startLsn: lsnField,
  flushLsn: lsnField,
  commitLsn: lsnField,
  termHistory: repeated(termSwitch),
  pageserverDurableLsn: lsnField,
});
export type SafekeeperTimelineStatus = Model<typeof timelineStatus>;

const listedTimeline = message({
  timelineId,
  deleted: bool,
  startLsn: lsnField,
  flushLsn: lsnField,
  commitLsn: lsnField,
});
export type ListedTimeline = Model<typeof listedTimeline>;

export const safekeeperContract = defineService(
  'safekeeper.proto',
  'coppice.safekeeper.v1.Safekeeper',
  {
    propose: bidi(proposerMessage, acceptorMessage),
    readWal: serverStream(readWalRequest, walChunk),
    watchTimelines: serverStream(
      message({ sinceUnixMs: safeInt }),
      message({ advances: repeated(timelineAdvance) }),
    ),
    getTimelineStatus: unary(timelineOnly, timelineStatus),
    resolveLsn: unary(
      message({ timelineId, lsn: lsnField }),
      message({ lsn: lsnField, commitLsn: lsnField }),
    ),
    reportPageserver: unary(
      message({ timelineId, ingestedLsn: lsnField, durableLsn: lsnField, generation: generationField }),
      empty,
    ),
    deleteTimeline: unary(timelineOnly, empty),
    listTimelines: unary(
      message({ cursor: text, limit: number }),
      message({ timelines: repeated(listedTimeline), nextCursor: text }),
    ),
  },
  {
    propose: {
      services: ['compute'],
      timeline: (message) => (message.kind === 'greeting' ? message.value.timelineId : undefined),
    },
    readWal: {
      services: ['pageserver', 'compute', 'lakehouse-sync'],
      timeline: ({ timelineId }) => timelineId,
    },
    watchTimelines: ['pageserver', 'lakehouse-sync'],
    getTimelineStatus: ['control-plane', 'operator'],
    resolveLsn: ['control-plane'],
    reportPageserver: ['pageserver'],
    deleteTimeline: ['control-plane'],
    listTimelines: ['control-plane', 'operator'],
  },
);
