/** Messages of libs/consensus as they travel in `Safekeeper.Propose`. */
import type { AcceptorMessage, Membership, ProposerMessage, TermHistory } from '@coppice/consensus';
import { historyProblem } from '@coppice/consensus';
import { CoppiceError } from '@coppice/service-kit';
import type { Lsn, NodeId } from '@coppice/vocabulary';
import { parseNodeId } from '@coppice/vocabulary';
import type { AcceptorWireMessage, ProposerWireMessage, TermSwitchMessage } from './safekeeper';

type WireMembership = Extract<ProposerWireMessage, { kind: 'greeting' }>['value']['membership'];

/** Longest term history accepted: one entry for every start of a compute on the timeline. */
const MAX_TERMS = 1_000_000;
const PROPOSER_ID = /^[0-9a-f]{32}$/;

export function proposerToWire(message: ProposerMessage): ProposerWireMessage {
  switch (message.kind) {
    case 'greeting':
      return {
        kind: 'greeting',
        value: {
          timelineId: message.timeline,
          startLsn: message.startLsn,
          systemIdentifier: message.systemId,
          pgVersion: message.pgVersion,
          membership: membershipToWire(message.membership),
          proposerId: message.proposer,
        },
      };
    case 'vote-request':
      return {
        kind: 'voteRequest',
        value: { term: message.term, membershipGeneration: message.generation, proposerId: message.proposer },
      };
    case 'elected':
      return {
        kind: 'elected',
        value: {
          term: message.term,
          startStreamingLsn: message.continueAt,
          termHistory: message.history,
          membershipGeneration: message.generation,
          proposerId: message.proposer,
        },
      };
    case 'append':
      return {
        kind: 'append',
        value: {
          term: message.term,
          beginLsn: message.begin,
          commitLsn: message.commitLsn,
          truncateLsn: message.truncateLsn,
          wal: message.bytes as Buffer,
          membershipGeneration: message.generation,
        },
      };
  }
}

export function proposerFromWire(wire: ProposerWireMessage): ProposerMessage {
  switch (wire.kind) {
    case 'greeting': {
      const { timelineId, startLsn, systemIdentifier, pgVersion, membership, proposerId } = wire.value;
      return {
        kind: 'greeting',
        timeline: timelineId,
        startLsn,
        systemId: systemIdentifier,
        pgVersion,
        membership: membershipFromWire(membership),
        proposer: proposer(proposerId),
      };
    }
    case 'voteRequest': {
      const { term, membershipGeneration, proposerId } = wire.value;
      return { kind: 'vote-request', generation: membershipGeneration, proposer: proposer(proposerId), term };
    }
    case 'elected': {
      const { term, startStreamingLsn, termHistory, membershipGeneration, proposerId } = wire.value;
      return {
        kind: 'elected',
        generation: membershipGeneration,
        proposer: proposer(proposerId),
        term,
        continueAt: startStreamingLsn,
        history: history(termHistory, termHistory[0]?.lsn),
      };
    }
    case 'append': {
      const { term, beginLsn, commitLsn, truncateLsn, wal, membershipGeneration } = wire.value;
      return {
        kind: 'append',
        generation: membershipGeneration,
        term,
        begin: beginLsn,
        end: (beginLsn + BigInt(wal.length)) as Lsn,
        commitLsn,
        truncateLsn,
        bytes: wal,
      };
    }
  }
}

/** How far a pageserver is, as an acceptor last heard it; 0 when never. Rides on append responses for back-pressure. */
export interface PageserverProgress {
  readonly ingestedLsn: Lsn;
  readonly durableLsn: Lsn;
}

export function acceptorToWire(
  message: AcceptorMessage,
  pageserver: PageserverProgress,
): AcceptorWireMessage {
  switch (message.kind) {
    case 'greeting-response':
      return {
        kind: 'greeting',
        value: {
          safekeeperId: message.node,
          term: message.term,
          membership: membershipToWire(message.membership),
        },
      };
    case 'vote-response':
      return {
        kind: 'voteResponse',
        value: {
          term: message.term,
          granted: message.granted,
          flushLsn: message.recordEnd,
          commitLsn: message.commitLsn,
          termHistory: message.history,
          membershipGeneration: message.generation,
          truncateLsn: message.truncateLsn,
        },
      };
    case 'append-response':
      return {
        kind: 'appendResponse',
        value: {
          term: message.term,
          flushLsn: message.flushLsn,
          commitLsn: message.commitLsn,
          membershipGeneration: message.generation,
          pageserverIngestedLsn: pageserver.ingestedLsn,
          pageserverDurableLsn: pageserver.durableLsn,
        },
      };
    case 'refused':
      return {
        kind: 'refused',
        value: {
          term: message.term,
          membershipGeneration: message.generation,
          reason: message.reason,
          detail: message.detail,
        },
      };
  }
}

/** `pageserver` is there for append responses only. */
export function acceptorFromWire(wire: AcceptorWireMessage): {
  readonly message: AcceptorMessage;
  readonly pageserver?: PageserverProgress;
} {
  switch (wire.kind) {
    case 'greeting': {
      const { safekeeperId, term, membership } = wire.value;
      return {
        message: {
          kind: 'greeting-response',
          node: node(safekeeperId),
          term,
          membership: membershipFromWire(membership),
        },
      };
    }
    case 'voteResponse': {
      const { term, granted, flushLsn, commitLsn, termHistory, membershipGeneration, truncateLsn } =
        wire.value;
      return {
        message: {
          kind: 'vote-response',
          generation: membershipGeneration,
          term,
          granted,
          recordEnd: flushLsn,
          commitLsn,
          truncateLsn,
          history: history(termHistory, termHistory[0]?.lsn),
        },
      };
    }
    case 'appendResponse': {
      const { term, flushLsn, commitLsn, membershipGeneration, pageserverIngestedLsn, pageserverDurableLsn } =
        wire.value;
      return {
        message: { kind: 'append-response', generation: membershipGeneration, term, flushLsn, commitLsn },
        pageserver: { ingestedLsn: pageserverIngestedLsn, durableLsn: pageserverDurableLsn },
      };
    }
    case 'refused': {
      const { term, membershipGeneration, reason, detail } = wire.value;
      return { message: { kind: 'refused', generation: membershipGeneration, term, reason, detail } };
    }
  }
}

export function membershipToWire(membership: Membership): WireMembership {
  return { ...membership, newMembers: membership.newMembers ?? [] };
}

export function membershipFromWire({ generation, members, newMembers }: WireMembership): Membership {
  if (members.length === 0) throw malformed('a membership names no safekeeper');
  return {
    generation,
    members: members.map(node),
    ...(newMembers.length > 0 && { newMembers: newMembers.map(node) }),
  };
}

function history(entries: readonly TermSwitchMessage[], startLsn: Lsn | undefined): TermHistory {
  if (entries.length > MAX_TERMS) throw malformed(`a term history of ${entries.length} entries`);
  const problem = historyProblem(entries, startLsn ?? (0n as Lsn));
  if (problem) throw malformed(problem);
  return entries;
}

function node(text: string): NodeId {
  const id = parseNodeId(text);
  if (!id) throw malformed(`"${text.slice(0, 60)}" is not a safekeeper id`);
  return id;
}

function proposer(text: string): string {
  if (!PROPOSER_ID.test(text)) throw malformed('a proposer id is not 32 hexadecimal digits');
  return text;
}

function malformed(what: string): CoppiceError {
  return new CoppiceError('Malformed', 'malformed-message', what);
}
