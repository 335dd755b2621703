import type { NodeId } from '@coppice/vocabulary';
import { KEPT_MS, nextTurn, type Place, type Share, type WaitingStart, whoYields } from './start-order';

const MIB = 1024 * 1024;
const a = 'agent-1' as NodeId;
const b = 'agent-2' as NodeId;
const start = (agentId: string, order: number, over: Partial<WaitingStart> = {}): WaitingStart => ({
  agentId,
  order,
  bytes: 40 * MIB,
  failedOn: new Set(),
  stuckMs: 0,
  ...over,
});
const place = (node: NodeId, over: Partial<Place> = {}): Place => ({
  node,
  freeStarts: 1,
  freeComputes: 100,
  freeBytes: 1024 * MIB,
  allBytes: 4096 * MIB,
  computes: 0,
  ...over,
});

/** Orders of the starts as they get their turns on one node, one at a time. */
function turns(waiting: readonly WaitingStart[]): number[] {
  const left = [...waiting];
  const shares = new Map<string, Share>();
  const order: number[] = [];
  for (let turn = 1; left.length > 0; turn += 1) {
    const next = nextTurn(left, shares, [place(a)]);
    if (next.kind !== 'start') throw new Error(next.kind);
    left.splice(left.indexOf(next.start), 1);
    shares.set(next.start.agentId, { underWay: 0, lastTurn: turn });
    order.push(next.start.order);
  }
  return order;
}

describe('the next start', () => {
  it('of one agent is the first that came', () => {
    expect(turns([start('x', 2), start('x', 1), start('x', 3)])).toEqual([1, 2, 3]);
  });
  it('of another agent waits for one start of a storm, not for all of it', () => {
    const storm = Array.from({ length: 1_000 }, (_, i) => start('storm', i));
    expect(turns([...storm, start('single', 1_000)]).indexOf(1_000)).toBe(1);
  });
  it('is of the agent with the fewest under way', () => {
    const shares = new Map([
      ['x', { underWay: 2, lastTurn: 1 }],
      ['y', { underWay: 1, lastTurn: 9 }],
    ]);
    expect(nextTurn([start('x', 1), start('y', 2)], shares, [place(a)])).toMatchObject({
      start: { order: 2 },
    });
  });
  it('goes to the node with the fewest computes', () => {
    const places = [place(a, { computes: 3 }), place(b, { computes: 2 })];
    expect(nextTurn([start('x', 1)], new Map(), places)).toMatchObject({ kind: 'start', node: b });
  });
  it('passes over the node where it failed, though it has to wait for the other', () => {
    const failed = start('x', 1, { failedOn: new Set([a]) });
    expect(nextTurn([failed], new Map(), [place(a), place(b)])).toMatchObject({ node: b });
    expect(nextTurn([failed], new Map(), [place(a), place(b, { freeStarts: 0 })]).kind).toBe('wait');
    expect(
      nextTurn([failed, start('x', 2), start('y', 3)], new Map(), [place(a), place(b, { freeStarts: 0 })]),
    ).toMatchObject({
      start: { order: 3 },
    });
    expect(nextTurn([failed], new Map(), [place(a)])).toMatchObject({ node: a });
  });
  it('waits while every node has as many as it may', () => {
    expect(nextTurn([start('x', 1)], new Map(), [place(a, { freeStarts: 0 })]).kind).toBe('wait');
    expect(nextTurn([start('x', 1)], new Map(), []).kind).toBe('wait');
    expect(nextTurn([], new Map(), [place(a)]).kind).toBe('wait');
  });
  it('has the roomiest node kept for it while it does not fit, and says where room would help', () => {
    const large = start('x', 1, { bytes: 2_000 * MIB });
    const places = [place(a, { freeBytes: 1_500 * MIB }), place(b)];
    expect(nextTurn([large, start('y', 2)], new Map(), places)).toMatchObject({
      kind: 'start',
      start: { order: 2 },
      node: b,
    });
    expect(
      nextTurn([large, start('y', 2)], new Map(), [place(a), place(b, { freeStarts: 0 })]),
    ).toMatchObject({
      kind: 'wait',
      stuck: [
        { start: { order: 1 }, nodes: [a] },
        { start: { order: 2 }, nodes: [a] },
      ],
    });
    expect(nextTurn([start('x', 1)], new Map(), [place(a, { freeComputes: 0 })])).toMatchObject({
      kind: 'wait',
      stuck: [{ nodes: [a] }],
    });
    const roomy = place('agent-3' as NodeId, { freeBytes: 4_000 * MIB });
    expect(nextTurn([large], new Map(), [...places, roomy])).toMatchObject({
      kind: 'start',
      node: 'agent-3',
    });
  });
  it('is passed by those that fit once it has been stuck for a while', () => {
    const large = start('x', 1, { bytes: 2_000 * MIB, stuckMs: KEPT_MS });
    expect(nextTurn([large, start('y', 2)], new Map(), [place(a)])).toMatchObject({
      kind: 'start',
      start: { order: 2 },
    });
  });
  it('is not one that is more than any node has', () => {
    const huge = start('x', 1, { bytes: 5_000 * MIB });
    expect(
      nextTurn([start('y', 2), huge], new Map([['y', { underWay: 1, lastTurn: 1 }]]), [place(a)]),
    ).toMatchObject({
      kind: 'too-large',
      start: { order: 1 },
    });
    expect(nextTurn([huge], new Map(), [place(a), place(b, { allBytes: Infinity })]).kind).toBe('wait');
  });
});

describe('a line that is full', () => {
  it('gives up the last of those who have most of it', () => {
    const waiting = [start('storm', 1), start('storm', 2), start('y', 3)];
    expect(whoYields(waiting, { agentId: 'z' })?.order).toBe(2);
    expect(whoYields(waiting, { agentId: 'y' })).toBeUndefined();
    expect(whoYields(waiting, { agentId: 'storm' })).toBeUndefined();
  });
});
