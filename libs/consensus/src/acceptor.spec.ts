import { lsn, term, type NodeId, type TimelineId } from '@coppice/vocabulary';
import {
  acknowledge,
  learnCommit,
  newAcceptor,
  stepAcceptor,
  tombstone,
  type AcceptorState,
  type LogEnd,
} from './acceptor';
import type { Append, Elected, ProposerMessage, VoteRequest } from './messages';

const IDENTITY = { timeline: '0'.repeat(32) as TimelineId, startLsn: lsn(1000), systemId: 9n, pgVersion: 17 };
const MEMBERSHIP = { generation: 4, members: ['a', 'b', 'c'] as NodeId[] };
const fresh = newAcceptor('a' as NodeId, IDENTITY, MEMBERSHIP);
const EMPTY: LogEnd = { written: lsn(1000), recordEnd: lsn(1000) };
const at = (end: number, written = end): LogEnd => ({ written: lsn(written), recordEnd: lsn(end) });

const voteFor = (proposer: string, t: number): VoteRequest => ({
  kind: 'vote-request',
  generation: 4,
  proposer,
  term: term(t),
});
const elected = (t: number, continueAt: number, history: [number, number][]): Elected => ({
  kind: 'elected',
  generation: 4,
  proposer: 'p',
  term: term(t),
  continueAt: lsn(continueAt),
  history: history.map(([of, begin]) => ({ term: term(of), lsn: lsn(begin) })),
});
const append = (t: number, begin: number, bytes: number, commit = 1000): Append => ({
  kind: 'append',
  generation: 4,
  term: term(t),
  begin: lsn(begin),
  end: lsn(begin + bytes),
  commitLsn: lsn(commit),
  truncateLsn: lsn(1000),
  bytes: new Uint8Array(bytes),
});

function after(state: AcceptorState, log: LogEnd, ...messages: ProposerMessage[]): AcceptorState {
  return messages.reduce((s, message) => stepAcceptor(s, log, message).state, state);
}
const inTerm2 = after(
  fresh,
  EMPTY,
  voteFor('p', 2),
  elected(2, 1000, [
    [0, 1000],
    [2, 1000],
  ]),
);

describe('an acceptor', () => {
  it('persists a vote before it tells it, and flushes what it wrote', () => {
    const step = stepAcceptor(fresh, at(1040, 1050), voteFor('p', 1));
    expect(step).toMatchObject({
      flush: true,
      save: true,
      reply: { granted: true, term: 1, recordEnd: lsn(1040) },
    });
  });

  it('votes once per term, and again for the same proposer', () => {
    const voted = after(fresh, EMPTY, voteFor('p', 3));
    expect(stepAcceptor(voted, EMPTY, voteFor('q', 3)).reply).toMatchObject({ granted: false, term: 3 });
    expect(stepAcceptor(voted, EMPTY, voteFor('p', 3))).toMatchObject({
      save: false,
      reply: { granted: true },
    });
    expect(stepAcceptor(voted, EMPTY, voteFor('q', 2)).reply).toMatchObject({ granted: false, term: 3 });
  });

  it('refuses what is said under another membership', () => {
    expect(stepAcceptor(fresh, EMPTY, { ...voteFor('p', 1), generation: 3 }).reply).toMatchObject({
      reason: 'membership',
      generation: 4,
    });
  });

  it('refuses a timeline that begins elsewhere', () => {
    const greeting = {
      kind: 'greeting',
      ...IDENTITY,
      startLsn: lsn(2000),
      proposer: 'p',
      membership: MEMBERSHIP,
    } as const;
    expect(stepAcceptor(fresh, EMPTY, greeting).reply).toMatchObject({ reason: 'wrong-timeline' });
  });

  it('takes bytes only from the leader that was announced, and only at the end of its log', () => {
    expect(
      stepAcceptor(after(fresh, EMPTY, voteFor('p', 2)), EMPTY, append(2, 1000, 10)).reply,
    ).toMatchObject({ reason: 'out-of-step' });
    expect(stepAcceptor(inTerm2, EMPTY, append(2, 1000, 10))).toMatchObject({
      write: { at: lsn(1000) },
      acknowledge: true,
    });
    for (const begin of [990, 1010])
      expect(stepAcceptor(inTerm2, EMPTY, append(2, begin, 10)).reply).toMatchObject({
        reason: 'out-of-step',
      });
    expect(stepAcceptor(inTerm2, EMPTY, append(1, 1000, 10)).reply).toMatchObject({
      reason: 'term',
      term: 2,
    });
  });

  it('truncates before it saves the new history, and only at the point it computed itself', () => {
    const leader = elected(5, 1100, [
      [0, 1000],
      [2, 1000],
      [5, 1100],
    ]);
    expect(stepAcceptor(inTerm2, at(1180, 1185), leader)).toMatchObject({
      truncateTo: lsn(1100),
      save: true,
      reply: { flushLsn: lsn(1100), term: 5 },
    });
    expect(
      stepAcceptor(
        inTerm2,
        at(1180),
        elected(5, 1080, [
          [0, 1000],
          [2, 1000],
          [5, 1100],
        ]),
      ).reply,
    ).toMatchObject({ reason: 'out-of-step' });
  });

  it('would rather fail than cut what is committed', () => {
    const committed = { ...inTerm2, commitLsn: lsn(1150) };
    expect(() =>
      stepAcceptor(
        committed,
        at(1180),
        elected(5, 1100, [
          [0, 1000],
          [2, 1000],
          [5, 1100],
        ]),
      ),
    ).toThrow(/below commit/);
  });

  it('believes in a commit only as far as its own log goes', () => {
    const told = after(inTerm2, at(1040), append(2, 1040, 0, 1090));
    expect(acknowledge(told, at(1040))).toMatchObject({
      state: { commitLsn: lsn(1040) },
      reply: { commitLsn: lsn(1040) },
    });
    expect(acknowledge(told, at(1200)).state.commitLsn).toBe(lsn(1090));
  });

  it('tells no flush position in a term that its log has not taken', () => {
    const promised = after(inTerm2, at(1040), voteFor('q', 7));
    expect(acknowledge(promised, at(1040)).reply).toMatchObject({ kind: 'refused', reason: 'term', term: 7 });
  });

  it("trusts a peer's commit only when both logs end in the same term", () => {
    expect(learnCommit(inTerm2, at(1040), { lastLogTerm: term(3), commitLsn: lsn(1030) }).commitLsn).toBe(
      lsn(1000),
    );
    expect(learnCommit(inTerm2, at(1040), { lastLogTerm: term(2), commitLsn: lsn(1030) }).commitLsn).toBe(
      lsn(1030),
    );
  });

  it('refuses everything about a deleted timeline', () => {
    const gone = tombstone(inTerm2);
    const greeting = { kind: 'greeting', ...IDENTITY, proposer: 'p', membership: MEMBERSHIP } as const;
    for (const message of [greeting, voteFor('p', 9), append(2, 1000, 1)]) {
      expect(stepAcceptor(gone, EMPTY, message).reply).toMatchObject({ reason: 'deleted' });
    }
  });
});
