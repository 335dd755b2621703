/** The compute agent's contract as models. Prose: protos/compute.proto. */
import type { Model } from './rpc/codec';
import {
  bool,
  empty,
  int64,
  lsnField,
  message,
  number,
  oneOf,
  repeated,
  safeInt,
  termField,
  text,
  textMap,
  timelineId,
} from './rpc/codec';
import { defineService, unary } from './rpc/service';

const computeState = oneOf('COMPUTE_STATE', [
  'empty',
  'preparing',
  'running',
  'stopping',
  'stopped',
  'failed',
]);
export type ComputeState = Model<typeof computeState>;

const startComputeRequest = message({
  computeId: text,
  endpointId: text,
  timelineId,
  timelineStartLsn: lsnField,
  systemIdentifier: int64,
  fencingToken: safeInt,
  setupSql: repeated(text),
  settings: textMap,
  computeUnits: number,
  storageLimitBytes: safeInt,
  keepDataDirectory: bool,
  timelineToken: text,
});
export type StartComputeRequest = Model<typeof startComputeRequest>;

const compute = message({
  computeId: text,
  endpointId: text,
  timelineId,
  state: computeState,
  socketDirectory: text,
  port: number,
  startLsn: lsnField,
  commitLsn: lsnField,
  lastActiveUnixMs: safeInt,
  term: termField,
  failure: text,
  phases: repeated(message({ name: text, milliseconds: number })),
  dataDirectory: text,
});
export type ComputeStatus = Model<typeof compute>;

export const computeAgentContract = defineService(
  'compute.proto',
  'coppice.compute.v1.ComputeAgent',
  {
    startCompute: unary(startComputeRequest, compute, 60_000),
    stopCompute: unary(message({ computeId: text, immediate: bool }), compute, 60_000),
    getCompute: unary(message({ computeId: text }), compute, 2_000),
    listComputes: unary(empty, message({ computes: repeated(compute) })),
    buildTemplate: unary(
      message({ timelineId, timelineToken: text }),
      message({ lsn: lsnField, systemIdentifier: int64 }),
      180_000,
    ),
  },
  {
    startCompute: ['control-plane'],
    stopCompute: ['control-plane'],
    getCompute: ['control-plane', 'operator'],
    listComputes: ['control-plane', 'operator'],
    buildTemplate: ['control-plane'],
  },
);
