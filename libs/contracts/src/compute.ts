/** The compute agent's contract as models. Prose: protos/compute.proto. */
import type { Codec, Model } from './rpc/codec';
import {
  bool,
  empty,
  int64,
  lsnField,
  message,
  number,
  oneOf,
  optional,
  optionalLsn,
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
  minComputeUnits: optional(number),
  expectedLsn: optionalLsn,
});
export type StartComputeRequest = Model<typeof startComputeRequest>;

const computeSize = message({ units: number, minUnits: number, maxUnits: number, unitSeconds: number });

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
  size: optional(computeSize),
  held: optional(bool),
  clockUnixMs: optional(safeInt),
});
export type ComputeStatus = Model<typeof compute>;

const runSqlRequest = message({
  computeId: text,
  database: text,
  statements: repeated(text),
  readOnly: bool,
  deadlineMs: number,
  maxResultBytes: number,
  separate: bool,
});
export type RunSqlRequest = Model<typeof runSqlRequest>;

const optionalText = message({ text: optional(text) });
const sqlValue: Codec<string | null> = {
  fromWire: (wire, field) => optionalText.fromWire(wire, field).text ?? null,
  toWire: (value) => optionalText.toWire(value === null ? {} : { text: value }),
};
const sqlValues = message({ values: repeated(sqlValue) });
const sqlRow: Codec<readonly (string | null)[]> = {
  fromWire: (wire, field) => sqlValues.fromWire(wire, field).values,
  toWire: (values) => sqlValues.toWire({ values }),
};
const sqlResult = message({ columns: repeated(text), rows: repeated(sqlRow), commandTag: text });
/** Values as PostgreSQL writes them as text. */
export type SqlResult = Model<typeof sqlResult>;

const computeLimits = message({
  computeId: text,
  storageLimitBytes: optional(safeInt),
  computeUnits: number,
  minComputeUnits: optional(number),
});
export type ComputeLimitsRequest = Model<typeof computeLimits>;

export const computeAgentContract = defineService(
  'compute.proto',
  'coppice.compute.v1.ComputeAgent',
  {
    startCompute: unary(startComputeRequest, compute, 60_000),
    stopCompute: unary(message({ computeId: text, immediate: bool }), compute, 60_000),
    getCompute: unary(message({ computeId: text, look: optional(bool) }), compute, 2_000),
    listComputes: unary(empty, message({ computes: repeated(compute) })),
    runSql: unary(runSqlRequest, message({ results: repeated(sqlResult) }), 65_000),
    setComputeLimits: unary(computeLimits, compute),
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
    runSql: ['control-plane'],
    setComputeLimits: ['control-plane'],
    buildTemplate: ['control-plane'],
  },
);
