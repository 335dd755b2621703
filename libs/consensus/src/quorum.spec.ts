import { lsn, term, type Lsn, type NodeId } from '@coppice/vocabulary';
import { beginChange, finishChange, mayFinishChange, type MemberReport } from './membership';
import { isQuorum, quorumPosition } from './quorum';
import { historyProblem, lastLogTerm, pointOfDivergence, type TermHistory } from './term-history';

const nodes = (...names: string[]): NodeId[] => names as NodeId[];
const three = { generation: 1, members: nodes('a', 'b', 'c') };
const joint = beginChange(three, nodes('c', 'd', 'e'));
const at =
  (positions: Record<string, number>) =>
  (node: NodeId): Lsn | undefined =>
    node in positions ? lsn(positions[node]!) : undefined;

describe('a quorum', () => {
  it('is a majority of every member set', () => {
    expect(isQuorum(three, new Set(nodes('a', 'b')))).toBe(true);
    expect(isQuorum(three, new Set(nodes('a', 'x', 'y')))).toBe(false);
    expect(isQuorum(joint, new Set(nodes('a', 'b', 'c')))).toBe(false);
    expect(isQuorum(joint, new Set(nodes('a', 'c', 'd')))).toBe(true);
  });

  it('has reached the position that a majority of every set has reached', () => {
    expect(quorumPosition(three, at({ a: 30, b: 20, c: 10 }))).toBe(20n);
    expect(quorumPosition(three, at({ a: 30 }))).toBeUndefined();
    expect(quorumPosition(joint, at({ a: 30, b: 20, c: 25, d: 5, e: 9 }))).toBe(9n);
  });
});

describe('a change of members', () => {
  const report = (lastLogTerm: number, recordEnd: number): MemberReport => ({
    term: term(6),
    lastLogTerm: term(lastLogTerm),
    recordEnd: lsn(recordEnd),
  });
  const sync = { term: term(6), lastLogTerm: term(5), lsn: lsn(100) };

  it('finishes only when a majority of the new set holds the term and the sync position', () => {
    const may = (...reports: [string, MemberReport][]): boolean =>
      mayFinishChange(joint, sync, new Map(reports as [NodeId, MemberReport][]));
    expect(may(['c', report(5, 100)])).toBe(false);
    expect(may(['c', report(5, 100)], ['d', report(5, 99)])).toBe(false);
    expect(may(['c', report(5, 100)], ['d', report(4, 200)])).toBe(false);
    expect(may(['c', report(5, 100)], ['d', { ...report(5, 100), term: term(5) }])).toBe(false);
    expect(may(['c', report(5, 100)], ['e', report(6, 100)])).toBe(true);
    expect(finishChange(joint)).toEqual({ generation: 3, members: nodes('c', 'd', 'e') });
  });

  it('does not begin while another is under way', () => {
    expect(() => beginChange(joint, nodes('x'))).toThrow(/under way/);
  });
});

describe('a term history', () => {
  const history = (...entries: [number, number][]): TermHistory =>
    entries.map(([t, l]) => ({ term: term(t), lsn: lsn(l) }));

  it('says which term the end of a log is of', () => {
    const h = history([0, 0], [2, 100], [3, 200]);
    expect([99, 100, 199, 200, 500].map((end) => lastLogTerm(h, lsn(end)))).toEqual([0, 2, 2, 3, 3]);
  });

  it('finds where two logs part', () => {
    const leader = history([0, 0], [2, 100], [5, 300]);
    const cases: [TermHistory, number, number][] = [
      [history([0, 0], [2, 100], [5, 300]), 700, 700],
      [history([0, 0], [2, 100]), 250, 250],
      [history([0, 0], [2, 100]), 450, 300],
      [history([0, 0], [2, 100], [4, 200]), 450, 200],
      [history([0, 0], [3, 50]), 80, 50],
      [history([0, 0], [3, 150]), 180, 100],
      [history([0, 0], [2, 100], [5, 300]), 60, 60],
    ];
    for (const [own, end, expected] of cases)
      expect(pointOfDivergence(leader, own, lsn(end))).toBe(BigInt(expected));
  });

  it('that contradicts another about the start of a term is a broken rule', () => {
    expect(() => pointOfDivergence(history([0, 0], [2, 100]), history([0, 0], [2, 90]), lsn(200))).toThrow(
      /term 2 begins/,
    );
  });

  it('is checked when it comes from elsewhere', () => {
    expect(historyProblem(history([0, 0], [2, 10], [3, 10]), lsn(0))).toBeUndefined();
    expect(historyProblem(history(), lsn(0))).toMatch(/empty/);
    expect(historyProblem(history([1, 0]), lsn(0))).toMatch(/begin with term 0/);
    expect(historyProblem(history([0, 0], [2, 10], [2, 20]), lsn(0))).toMatch(/follows/);
    expect(historyProblem(history([0, 0], [2, 10], [3, 5]), lsn(0))).toMatch(/begins before/);
  });
});
