import type { Lsn, NodeId } from '@coppice/vocabulary';
import type { Membership } from './membership';

/** Whether `nodes` holds a majority of every member set. */
export function isQuorum(membership: Membership, nodes: ReadonlySet<NodeId>): boolean {
  return memberSets(membership).every((set) => set.filter((node) => nodes.has(node)).length > set.length / 2);
}

/** The highest position that a majority of every member set has reached; `undefined` when there is none. */
export function quorumPosition(membership: Membership, positions: ReadonlyMap<NodeId, Lsn>): Lsn | undefined {
  let lowest: Lsn | undefined;
  for (const set of memberSets(membership)) {
    const reached = set
      .flatMap((node) => positions.get(node) ?? [])
      .sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
    const position = reached[Math.floor(set.length / 2)];
    if (position === undefined) return undefined;
    if (lowest === undefined || position < lowest) lowest = position;
  }
  return lowest;
}

function memberSets(membership: Membership): (readonly NodeId[])[] {
  return membership.newMembers ? [membership.members, membership.newMembers] : [membership.members];
}
