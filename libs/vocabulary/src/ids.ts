import type { Brand } from './brand';

/** What storage sees: a linear WAL history. 128 random bits as 32 lower-case hexadecimal digits. */
export type TimelineId = Brand<string, 'TimelineId'>;
/** One Postgres cluster history: a root branch and everything forked from it. `adjective-noun-12345678`. */
export type ProjectId = Brand<string, 'ProjectId'>;
/** What a user sees: a name on a timeline. `br-<word>-<word>-<id>`. */
export type BranchId = Brand<string, 'BranchId'>;
/** The stable address through which a branch is reached. `ep-<word>-<word>-<id>`. */
export type EndpointId = Brand<string, 'EndpointId'>;
/** One run of Postgres serving an endpoint. `compute-<32 hex>`. */
export type ComputeId = Brand<string, 'ComputeId'>;
/** A machine or pod that runs a pageserver, a safekeeper or compute agents. */
export type NodeId = Brand<string, 'NodeId'>;

const PATH_ID = /^[a-z0-9-]{1,60}$/;

function parser<T extends string>(pattern: RegExp): (text: string) => T | undefined {
  return (text) => (pattern.test(text) ? (text as T) : undefined);
}

export const parseTimelineId = parser<TimelineId>(/^[0-9a-f]{32}$/);
export const parseProjectId = parser<ProjectId>(PATH_ID);
export const parseBranchId = parser<BranchId>(/^br-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+$/);
export const parseEndpointId = parser<EndpointId>(/^ep-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+$/);
export const parseComputeId = parser<ComputeId>(/^compute-[0-9a-f]{32}$/);
export const parseNodeId = parser<NodeId>(PATH_ID);
