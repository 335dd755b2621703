/**
 * What our own services ask of the control-plane, as models. Prose: protos/control_internal.proto.
 *
 * A new method takes four lines in four places: the `rpc` in the proto, its codecs in the first table below, who may call it
 * in the second (without which it does not compile; access.ts says what an entry may be), and its handler in
 * apps/control-plane/src/server/control-internal.ts. What a compute agent says must be bound to its node.
 */
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
  optional,
  optionalLsn,
  optionalTimelineId,
  repeated,
  safeInt,
  text,
  timelineId,
} from './rpc/codec';
import { defineService, unary } from './rpc/service';

const wakeRequest = message({
  endpointId: text,
  lsn: optionalLsn,
  timestampUnixMicros: optional(safeInt),
});
export type WakeRequest = Model<typeof wakeRequest>;
const wakeResponse = message({ computeId: text, socketDirectory: text, port: number, started: bool });
export type WakeResponse = Model<typeof wakeResponse>;

const scramVerifier = message({
  iterations: number,
  salt: bytes,
  storedKey: bytes,
  serverKey: bytes,
  credentialId: text,
  expiresUnixMs: safeInt,
  readOnly: bool,
  connectAs: text,
});
export type ScramVerifierMessage = Model<typeof scramVerifier>;

const login = message({ branchId: text, verifiers: repeated(scramVerifier), agentId: text });
export type Login = Model<typeof login>;

const credentialIds = message({ ids: repeated(text) });

const timeline = message({
  timelineId,
  ancestorId: optionalTimelineId,
  ancestorLsn: lsnField,
  systemIdentifier: int64,
  pgVersion: number,
});
export type TimelineFacts = Model<typeof timeline>;

const awakeReason = message({
  kind: text,
  sinceUnixMs: safeInt,
  pid: number,
  name: text,
  database: text,
});
export type AwakeReasonMessage = Model<typeof awakeReason>;
const computeLook = message({
  awakeReasons: repeated(awakeReason),
  held: bool,
  memoryBytes: optional(safeInt),
});
export type ComputeLook = Model<typeof computeLook>;
const computeActivity = message({
  computeId: text,
  lastActiveUnixMs: safeInt,
  commitLsn: lsnField,
  state: text,
  failure: text,
  logicalSizeBytes: optional(safeInt),
  activeMs: optional(safeInt),
  runningMs: optional(safeInt),
  computeUnits: optional(number),
  minComputeUnits: optional(number),
  maxComputeUnits: optional(number),
  unitSeconds: optional(number),
  look: optional(computeLook),
});
export type ComputeActivity = Model<typeof computeActivity>;
const agentCapacity = message({
  startsAtOnce: number,
  maxComputes: number,
  memoryBytes: optional(safeInt),
});
export type AgentCapacity = Model<typeof agentCapacity>;
const agentHeartbeat = message({
  nodeId: text,
  address: text,
  incarnation: text,
  computes: repeated(computeActivity),
  capacity: optional(agentCapacity),
  clockUnixMs: optional(safeInt),
});
export type AgentHeartbeat = Model<typeof agentHeartbeat>;

const idleCompute = message({
  computeId: text,
  endpointId: text,
  idleMs: safeInt,
  suspended: bool,
  failure: text,
});
export type IdleCompute = Model<typeof idleCompute>;
const sweptItem = message({
  id: text,
  projectId: text,
  branchId: text,
  dueUnixMs: safeInt,
  why: text,
  done: bool,
  failure: text,
});
export type SweptItem = Model<typeof sweptItem>;
const sweepRequest = message({ kind: text, limit: number, dryRun: bool });
export type SweepRequest = Model<typeof sweepRequest>;
const sweepResponse = message({ items: repeated(sweptItem), due: safeInt, population: safeInt });
export type SweepResponse = Model<typeof sweepResponse>;
const runningCompute = message({
  computeId: text,
  endpointId: text,
  projectId: text,
  branchId: text,
  state: text,
  startedUnixMs: safeInt,
  lastActiveUnixMs: safeInt,
  computeUnits: number,
});
export type RunningCompute = Model<typeof runningCompute>;

const contradiction = message({ kind: text, id: text, projectId: text, branchId: text, detail: text });
export type ContradictionMessage = Model<typeof contradiction>;
const agentNode = message({ nodeId: text, address: text });
export type AgentNodeMessage = Model<typeof agentNode>;
const inventoryRequest = message({ after: text, limit: number });
export type InventoryRequest = Model<typeof inventoryRequest>;
const timelineRecord = message({
  timelineId,
  projectId: text,
  ancestorLsn: optionalLsn,
  headLsn: optionalLsn,
  isTemplate: bool,
  isGoing: bool,
});
export type TimelineRecord = Model<typeof timelineRecord>;
const liveCompute = message({
  computeId: text,
  endpointId: text,
  projectId: text,
  branchId: text,
  timelineId,
  nodeId: text,
  state: text,
});
export type LiveCompute = Model<typeof liveCompute>;
const quotaCounts = message({ projects: safeInt, branches: safeInt, computes: safeInt });
const quotaCounters = message({
  agentId: text,
  has: quotaCounts,
  toGiveBack: quotaCounts,
  counted: optional(quotaCounts),
});
export type QuotaCounters = Model<typeof quotaCounters>;

export const controlInternalContract = defineService(
  'control_internal.proto',
  'coppice.control.internal.v1.ControlInternal',
  {
    wake: unary(wakeRequest, wakeResponse, 60_000),
    getLogin: unary(message({ endpointId: text, role: text, database: text }), login),
    reportTransferred: unary(
      message({ transfers: repeated(message({ endpointId: text, bytes: safeInt })) }),
      empty,
      5_000,
    ),
    findEndedCredentials: unary(credentialIds, credentialIds, 3_000),
    getTimeline: unary(message({ timelineId }), timeline),
    attachPageserver: unary(
      message({ nodeId: text, address: text }),
      message({ generation: generationField }),
    ),
    agentHeartbeat: unary(agentHeartbeat, empty, 5_000),
    suspendIdle: unary(
      message({ limit: number, dryRun: bool }),
      message({ computes: repeated(idleCompute), running: number, due: number }),
      120_000,
    ),
    sweep: unary(sweepRequest, sweepResponse, 120_000),
    listRunning: unary(empty, message({ computes: repeated(runningCompute) })),
    findContradictions: unary(
      message({ limit: number }),
      message({ contradictions: repeated(contradiction) }),
      60_000,
    ),
    listAgentNodes: unary(empty, message({ nodes: repeated(agentNode) })),
    listTimelines: unary(inventoryRequest, message({ timelines: repeated(timelineRecord) })),
    listLiveComputes: unary(inventoryRequest, message({ computes: repeated(liveCompute) })),
    listQuotaCounters: unary(inventoryRequest, message({ agents: repeated(quotaCounters) })),
  },
  {
    wake: ['compute-proxy'],
    getLogin: ['compute-proxy'],
    findEndedCredentials: ['compute-proxy'],
    reportTransferred: ['compute-proxy'],
    getTimeline: ['pageserver', 'lakehouse-sync'],
    attachPageserver: { services: ['pageserver'], node: ({ nodeId }) => nodeId },
    agentHeartbeat: { services: ['compute-agent'], node: ({ nodeId }) => nodeId },
    suspendIdle: ['reaper'],
    sweep: ['reaper'],
    listRunning: ['operator'],
    findContradictions: ['operator'],
    listAgentNodes: ['operator'],
    listTimelines: ['operator'],
    listLiveComputes: ['operator'],
    listQuotaCounters: ['operator'],
  },
);
