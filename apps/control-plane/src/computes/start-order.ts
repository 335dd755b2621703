/**
 * Which of the starts that wait is the next, and where. Pure.
 *
 *   agents (whose projects they are)       turn by turn: the one with the fewest starts under way, of these the one whose turn
 *                                          is the longest ago; so a storm of one makes another wait for one start, not for a thousand
 *   starts of one agent                    first come, first served
 *   nodes                                  where a start is free and the compute fits, the emptiest
 *
 * A start that fits nowhere now keeps one node for itself for a while, else smaller ones would pass it for ever; after that they
 * do, else it would hold up everybody. The caller makes room for it. One that fits on no node that were empty never will.
 */
import type { NodeId } from '@coppice/vocabulary';

export interface WaitingStart {
  /** Whose it is. */
  readonly agentId: string;
  /** Of its coming; a start that is tried again keeps it. */
  readonly order: number;
  /** What the compute is expected to take. */
  readonly bytes: number;
  /** Where it failed: passed over while there are other nodes. */
  readonly failedOn: ReadonlySet<NodeId>;
  /** How long there has been no room for it at its turn, milliseconds; 0 when it had none yet. */
  readonly stuckMs: number;
}

/** How long a start that fits nowhere has a node kept for it, milliseconds. */
export const KEPT_MS = 5_000;

export interface Place {
  readonly node: NodeId;
  /** Starts that may begin now. */
  readonly freeStarts: number;
  readonly freeComputes: number;
  readonly freeBytes: number;
  /** What an empty node has. */
  readonly allBytes: number;
  readonly computes: number;
}

/** An agent that has starts waiting or under way. */
export interface Share {
  readonly underWay: number;
  /** When it had its last turn, counted in turns. */
  readonly lastTurn: number;
}

/** It is the turn of `start`, and one of `nodes` would begin it if it had room. */
export interface Stuck<S> {
  readonly start: S;
  readonly nodes: readonly NodeId[];
}

export type Turn<S> =
  | { readonly kind: 'start'; readonly start: S; readonly node: NodeId }
  /** It is more than any node has. */
  | { readonly kind: 'too-large'; readonly start: S }
  /** Nothing can begin: it waits for room (`stuck`, in their order), or every node has as many starts under way as it may. */
  | { readonly kind: 'wait'; readonly stuck: readonly Stuck<S>[] };

const NEW: Share = { underWay: 0, lastTurn: 0 };

export function nextTurn<S extends WaitingStart>(
  waiting: readonly S[],
  shares: ReadonlyMap<string, Share>,
  places: readonly Place[],
): Turn<S> {
  const heads = [...headsOf(waiting).values()].sort((a, b) => {
    const [x, y] = [shares.get(a.agentId) ?? NEW, shares.get(b.agentId) ?? NEW];
    return x.underWay - y.underWay || x.lastTurn - y.lastTurn || a.order - b.order;
  });
  const stuck: Stuck<S>[] = [];
  const kept = new Set<NodeId>();
  for (const start of heads) {
    if (places.length > 0 && places.every((p) => p.allBytes < start.bytes))
      return { kind: 'too-large', start };
    const others = places.filter((p) => !start.failedOn.has(p.node));
    const free = (others.length > 0 ? others : places).filter((p) => p.freeStarts > 0);
    // Its nodes are busy: whose nodes are not may go before.
    if (free.length === 0) continue;
    const fitting = free.filter((p) => p.freeComputes > 0 && p.freeBytes >= start.bytes && !kept.has(p.node));
    const [best] = fitting.sort((a, b) => a.computes - b.computes || b.freeBytes - a.freeBytes);
    if (best) return { kind: 'start', start, node: best.node };
    stuck.push({ start, nodes: free.map((p) => p.node) });
    const [roomiest] = [...free].sort((a, b) => b.freeBytes - a.freeBytes);
    if (start.stuckMs < KEPT_MS) kept.add(roomiest!.node);
  }
  return { kind: 'wait', stuck };
}

/**
 * Who goes without a place in a line that is full: the last of those who have most of it. `undefined`: the newcomer itself.
 */
export function whoYields<S extends WaitingStart>(
  waiting: readonly S[],
  newcomer: { readonly agentId: string },
): S | undefined {
  const counts = new Map<string, number>([[newcomer.agentId, 1]]);
  for (const { agentId } of waiting) counts.set(agentId, (counts.get(agentId) ?? 0) + 1);
  const most = Math.max(...counts.values());
  if (counts.get(newcomer.agentId) === most) return undefined;
  return waiting
    .filter((s) => counts.get(s.agentId) === most)
    .reduce<S | undefined>((last, s) => (last === undefined || s.order > last.order ? s : last), undefined);
}

function headsOf<S extends WaitingStart>(waiting: readonly S[]): Map<string, S> {
  const heads = new Map<string, S>();
  for (const s of waiting) {
    const head = heads.get(s.agentId);
    if (!head || s.order < head.order) heads.set(s.agentId, s);
  }
  return heads;
}
