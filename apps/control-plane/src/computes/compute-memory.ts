/** What computes take of a node's memory, as far as placement is concerned. Pure. */
import type { AgentNode, ComputeRow } from '@coppice/catalog';
import type { ComputeId, NodeId } from '@coppice/vocabulary';
import type { Place } from './start-order';

const MIB = 1024 * 1024;
/** Processes of a server that is idle, estimated with room to spare; what the agent measures takes its place. */
const BASE_BYTES = 24 * MIB;
/** Of the shared buffers, which a compute unit has 128 MiB of, what a compute soon touches. */
const BUFFERS_PER_UNIT = 32 * MIB;
/** Of an agent that has not said how many starts it wants at once. */
const DEFAULT_STARTS = 2;

/** What a compute is expected to take until its agent has measured it. */
export function expectedBytes(computeUnits: number): number {
  return Math.round(BASE_BYTES + BUFFERS_PER_UNIT * Math.max(0.25, computeUnits));
}

/** Begun by this process, and not in the metadata yet when that was read. */
export interface Reserved {
  readonly node: NodeId;
  readonly bytes: number;
}

/** The agents as places for new computes. */
export function placesOf(
  nodes: readonly AgentNode[],
  startsUnderWay: ReadonlyMap<NodeId, number>,
  reserved: readonly Reserved[],
): Place[] {
  return nodes.map((n) => {
    const here = reserved.filter((r) => r.node === n.id);
    const computes = n.computes + here.length;
    const bytes = n.used_bytes + here.reduce((sum, r) => sum + r.bytes, 0);
    return {
      node: n.id,
      freeStarts: (n.starts_at_once || DEFAULT_STARTS) - (startsUnderWay.get(n.id) ?? 0),
      freeComputes: (n.max_computes || Infinity) - computes,
      freeBytes: (n.memory_bytes ?? Infinity) - bytes,
      allBytes: n.memory_bytes ?? Infinity,
      computes,
    };
  });
}

/** What a start lacks on a node. */
export interface Shortage {
  readonly node: NodeId;
  readonly computes: number;
  readonly bytes: number;
}

export function shortagesOf(places: readonly Place[], nodes: readonly NodeId[], bytes: number): Shortage[] {
  return places
    .filter((p) => nodes.includes(p.node))
    .map((p) => ({
      node: p.node,
      computes: Math.max(0, 1 - p.freeComputes),
      bytes: Math.max(0, bytes - p.freeBytes),
    }));
}

/**
 * Which computes make room by being suspended before their time: of the node where that takes the least recently used ones, as
 * many as it takes. `unused` are those that nobody uses now, longest unused first. Empty when no node can be given room so.
 */
export function chooseToSuspend(
  unused: readonly Pick<ComputeRow, 'id' | 'node_id' | 'memory_bytes'>[],
  shortages: readonly Shortage[],
): ComputeId[] {
  const taken = new Map<NodeId, { ids: ComputeId[]; bytes: number }>();
  for (const { id, node_id: node, memory_bytes: bytes } of unused) {
    const shortage = shortages.find((s) => s.node === node);
    if (!shortage) continue;
    const of = taken.get(node) ?? { ids: [], bytes: 0 };
    of.ids.push(id);
    of.bytes += bytes;
    taken.set(node, of);
    if (of.ids.length >= shortage.computes && of.bytes >= shortage.bytes) return of.ids;
  }
  return [];
}
