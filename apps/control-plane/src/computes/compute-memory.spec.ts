import type { AgentNode } from '@coppice/catalog';
import type { ComputeId, NodeId } from '@coppice/vocabulary';
import { chooseToSuspend, expectedBytes, placesOf, shortagesOf } from './compute-memory';

const MIB = 1024 * 1024;
const [a, b] = ['agent-1' as NodeId, 'agent-2' as NodeId];
const node = (id: NodeId, over: Partial<AgentNode> = {}) =>
  ({
    id,
    computes: 0,
    used_bytes: 0,
    starts_at_once: 2,
    max_computes: 200,
    memory_bytes: null,
    ...over,
  }) as AgentNode;
const unused = (id: string, node_id: NodeId, mib: number) => ({
  id: id as ComputeId,
  node_id,
  memory_bytes: mib * MIB,
});

describe('a place', () => {
  it('has what its agent says less what is there and what is on its way', () => {
    const nodes = [node(a, { computes: 3, used_bytes: 100 * MIB, memory_bytes: 256 * MIB }), node(b)];
    const [first, second] = placesOf(nodes, new Map([[a, 1]]), [{ node: a, bytes: 40 * MIB }]);
    expect(first).toEqual({
      node: a,
      freeStarts: 1,
      freeComputes: 196,
      freeBytes: 116 * MIB,
      allBytes: 256 * MIB,
      computes: 4,
    });
    expect(second).toEqual({
      node: b,
      freeStarts: 2,
      freeComputes: 200,
      freeBytes: Infinity,
      allBytes: Infinity,
      computes: 0,
    });
  });
  it('of an agent that says nothing of itself is without bounds but for its starts', () => {
    const [place] = placesOf([node(a, { starts_at_once: null, max_computes: null })], new Map(), []);
    expect(place).toMatchObject({ freeStarts: 2, freeComputes: Infinity, freeBytes: Infinity });
  });
  it('is expected to be filled more by larger computes', () => {
    expect(expectedBytes(4)).toBeGreaterThan(expectedBytes(0.25));
    expect(expectedBytes(0)).toBe(expectedBytes(0.25));
  });
});

describe('room', () => {
  it('is made by the computes that are unused for the longest, as many as it takes', () => {
    const idle = [unused('c1', a, 10), unused('c2', b, 90), unused('c3', a, 30), unused('c4', a, 30)];
    expect(chooseToSuspend(idle, [{ node: a, computes: 1, bytes: 35 * MIB }])).toEqual(['c1', 'c3']);
    expect(chooseToSuspend(idle, [{ node: a, computes: 1, bytes: 0 }])).toEqual(['c1']);
  });
  it('is made on the node where that takes the less recently used', () => {
    const idle = [unused('c1', a, 10), unused('c2', b, 40), unused('c3', a, 30)];
    const shortages = [
      { node: a, computes: 0, bytes: 40 * MIB },
      { node: b, computes: 0, bytes: 40 * MIB },
    ];
    expect(chooseToSuspend(idle, shortages)).toEqual(['c2']);
  });
  it('is not made in part: nobody is suspended when it would not help', () => {
    expect(chooseToSuspend([unused('c1', a, 10)], [{ node: a, computes: 0, bytes: 40 * MIB }])).toEqual([]);
    expect(chooseToSuspend([], [{ node: a, computes: 1, bytes: 0 }])).toEqual([]);
  });
  it('is lacking by what the start takes more than is free', () => {
    const places = placesOf(
      [node(a, { computes: 200, used_bytes: 90 * MIB, memory_bytes: 100 * MIB })],
      new Map(),
      [],
    );
    expect(shortagesOf(places, [a], 40 * MIB)).toEqual([{ node: a, computes: 1, bytes: 30 * MIB }]);
    expect(shortagesOf(places, [b], 40 * MIB)).toEqual([]);
  });
});
