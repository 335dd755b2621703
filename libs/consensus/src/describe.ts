/** Messages and states as one line of text each, for logs, scenarios and failing simulations. */
import { formatLsn, type Lsn } from '@coppice/vocabulary';
import type { AcceptorState, LogEnd } from './acceptor';
import type { Membership } from './membership';
import type { AcceptorMessage, ProposerMessage } from './messages';
import type { Proposer } from './proposer';
import { upTo, type TermHistory } from './term-history';

export function describeHistory(history: TermHistory): string {
  return `[${history.map((entry) => `${entry.term}@${formatLsn(entry.lsn)}`).join(' ')}]`;
}

export function describeMembership({ generation, members, newMembers }: Membership): string {
  return `g${generation} {${members.join(' ')}}${newMembers ? ` and {${newMembers.join(' ')}}` : ''}`;
}

export function describeMessage(message: ProposerMessage | AcceptorMessage): string {
  switch (message.kind) {
    case 'greeting':
      return `Greeting ${describeMembership(message.membership)} start ${formatLsn(message.startLsn)}`;
    case 'greeting-response':
      return `GreetingResponse term ${message.term} ${describeMembership(message.membership)}`;
    case 'vote-request':
      return `VoteRequest term ${message.term}`;
    case 'vote-response': {
      const { granted, term, recordEnd, commitLsn, history } = message;
      return `VoteResponse ${granted ? 'granted' : 'not granted'} term ${term} end ${formatLsn(recordEnd)} commit ${formatLsn(commitLsn)} ${describeHistory(history)}`;
    }
    case 'elected':
      return `Elected term ${message.term} continue at ${formatLsn(message.continueAt)} ${describeHistory(message.history)}`;
    case 'append':
      return `Append term ${message.term} ${range(message.begin, message.end)} commit ${formatLsn(message.commitLsn)}`;
    case 'append-response':
      return `AppendResponse term ${message.term} flush ${formatLsn(message.flushLsn)} commit ${formatLsn(message.commitLsn)}`;
    case 'refused':
      return `Refused (${message.reason}) term ${message.term}: ${message.detail}`;
  }
}

export function describeAcceptor(state: AcceptorState, log: LogEnd): string {
  const half = log.written > log.recordEnd ? ` +${log.written - log.recordEnd} bytes of a record` : '';
  const history = describeHistory(upTo(state.history, log.recordEnd));
  return `${state.node}: term ${state.term} log ${history} end ${formatLsn(log.recordEnd)}${half} commit ${formatLsn(state.commitLsn)}${state.deleted ? ' deleted' : ''}`;
}

export function describeProposer(proposer: Proposer): string {
  const start = proposer.startLsn === undefined ? '' : ` start ${formatLsn(proposer.startLsn)}`;
  const because = proposer.deposedBecause ? ` (${proposer.deposedBecause})` : '';
  return `${proposer.phase}${because} term ${proposer.term}${start} commit ${formatLsn(proposer.commitLsn)}`;
}

function range(begin: Lsn, end: Lsn): string {
  return begin === end ? `nothing at ${formatLsn(begin)}` : `[${formatLsn(begin)}, ${formatLsn(end)})`;
}
