/** The audit log, accounts, and what the reaper is about to do. Prose: protos/fleet.proto. */
import type { Model } from './rpc/codec';
import { message, number, repeated, safeInt, text } from './rpc/codec';
import { consumption } from './control-projects';

export const listAuditRequest = message({
  cursor: text,
  limit: number,
  projectId: text,
  branchId: text,
  agentId: text,
  taskId: text,
});
export type ListAuditRequest = Model<typeof listAuditRequest>;

export const auditEntry = message({
  id: safeInt,
  atUnixMs: safeInt,
  agentId: text,
  taskId: text,
  action: text,
  projectId: text,
  branchId: text,
  endpointId: text,
  detail: text,
  keyId: safeInt,
});
export type AuditEntryModel = Model<typeof auditEntry>;

export const auditList = message({
  entries: repeated(auditEntry),
  nextCursor: text,
});
export type AuditList = Model<typeof auditList>;

export const consumptionRequest = message({
  by: text,
  projectIds: repeated(text),
  branchIds: repeated(text),
  agentId: text,
  taskId: text,
  fromUnixMs: safeInt,
  toUnixMs: safeInt,
  granularity: text,
  cursor: text,
  limit: number,
});
export type ConsumptionRequest = Model<typeof consumptionRequest>;

export const consumptionFrame = message({
  startUnixMs: safeInt,
  endUnixMs: safeInt,
  consumption: consumption,
});
export type ConsumptionFrame = Model<typeof consumptionFrame>;

export const consumptionOf = message({
  projectId: text,
  branchId: text,
  agentId: text,
  taskId: text,
  frames: repeated(consumptionFrame),
});
export type ConsumptionOf = Model<typeof consumptionOf>;

export const consumptionReport = message({
  rows: repeated(consumptionOf),
  nextCursor: text,
});
export type ConsumptionReport = Model<typeof consumptionReport>;

export const previewReapRequest = message({
  limit: number,
});
export type PreviewReapRequest = Model<typeof previewReapRequest>;

export const reapCandidate = message({
  kind: text,
  id: text,
  projectId: text,
  branchId: text,
  dueUnixMs: safeInt,
  why: text,
});
export type ReapCandidate = Model<typeof reapCandidate>;

export const reapPreview = message({
  candidates: repeated(reapCandidate),
});
export type ReapPreview = Model<typeof reapPreview>;
