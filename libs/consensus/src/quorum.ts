import { compareLsn, minLsn, type Lsn, type NodeId } from '@coppice/vocabulary';
import type { Membership } from './membership';

/** Whether `nodes` holds a majority of every member set. */
export function isQuorum(membership: Membership, nodes: ReadonlySet<NodeId>): boolean {
  return memberSets(membership).every((set) => set.filter((node) => nodes.has(node)).length > set.length / 2);
}

/** The highest position that a majority of every member set has reached; `undefined` when there is none. */
export function quorumPosition(
  { members, newMembers }: Membership,
  positionOf: (node: NodeId) => Lsn | undefined,
): Lsn | undefined {
  const position = majorityPosition(members, positionOf);
  if (position === undefined || newMembers === undefined) return position;
  const other = majorityPosition(newMembers, positionOf);
  return other && minLsn(position, other);
}

function majorityPosition(
  set: readonly NodeId[],
  positionOf: (node: NodeId) => Lsn | undefined,
): Lsn | undefined {
  const reached: Lsn[] = [];
  for (const node of set) {
    const position = positionOf(node);
    if (position !== undefined) reached.push(position);
  }
  return reached.sort(compareLsn).at(-1 - Math.floor(set.length / 2));
}

function memberSets(membership: Membership): (readonly NodeId[])[] {
  return membership.newMembers ? [membership.members, membership.newMembers] : [membership.members];
}
