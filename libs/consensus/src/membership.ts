/**
 * Which safekeepers hold a timeline. Every message carries the generation of the membership it was sent under, and an
 * acceptor refuses any other: a node that was taken out cannot vote or acknowledge by mistake.
 *
 * A change goes through a joint membership (Raft's joint consensus): while `newMembers` is there, every quorum is a
 * majority of both sets.
 *
 *   g:   {1,2,3}    ──beginChange──►   g+1: {1,2,3} and {1,2,4}    ──finishChange──►   g+2: {1,2,4}
 *
 * The change may finish only when a majority of the new set has the term and the log of the position at which the joint
 * membership was agreed: otherwise the new set alone could elect a leader that misses what the old set committed.
 */
import type { Lsn, NodeId, Term } from '@coppice/vocabulary';
import { invariant } from './invariant';

export interface Membership {
  readonly generation: number;
  readonly members: readonly NodeId[];
  /** Present while a change is under way. */
  readonly newMembers?: readonly NodeId[];
}

/** What a member of the new set says about itself before a change finishes. */
export interface MemberReport {
  readonly term: Term;
  readonly lastLogTerm: Term;
  readonly recordEnd: Lsn;
}

/** The position that the old set had agreed on when the joint membership took effect. */
export interface SyncPosition {
  readonly term: Term;
  readonly lastLogTerm: Term;
  readonly lsn: Lsn;
}

export function isMember(membership: Membership, node: NodeId): boolean {
  return membership.members.includes(node) || (membership.newMembers?.includes(node) ?? false);
}

/** Every node that takes part, each once. */
export function allMembers(membership: Membership): NodeId[] {
  return [...new Set([...membership.members, ...(membership.newMembers ?? [])])];
}

/** The joint membership that starts a change to `newMembers`. */
export function beginChange(membership: Membership, newMembers: readonly NodeId[]): Membership {
  invariant(
    membership.newMembers === undefined,
    () => `a change of generation ${membership.generation} is under way`,
  );
  invariant(newMembers.length > 0, () => 'a membership cannot become empty');
  return { generation: membership.generation + 1, members: membership.members, newMembers };
}

/** Whether a majority of the new set holds the term and everything up to the sync position. */
export function mayFinishChange(
  membership: Membership,
  sync: SyncPosition,
  reports: ReadonlyMap<NodeId, MemberReport>,
): boolean {
  const newMembers = membership.newMembers ?? [];
  const ready = newMembers.filter((node) => {
    const report = reports.get(node);
    if (!report || report.term < sync.term) return false;
    if (report.lastLogTerm !== sync.lastLogTerm) return report.lastLogTerm > sync.lastLogTerm;
    return report.recordEnd >= sync.lsn;
  });
  return ready.length > newMembers.length / 2;
}

/** The membership after a change. Call only when `mayFinishChange` says so. */
export function finishChange(membership: Membership): Membership {
  invariant(
    membership.newMembers !== undefined,
    () => `no change of generation ${membership.generation} is under way`,
  );
  return { generation: membership.generation + 1, members: membership.newMembers };
}
