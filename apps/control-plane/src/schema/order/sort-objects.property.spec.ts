import fc from 'fast-check';
import { compareTexts } from './compare-names';
import { findCircles } from './find-circles';
import type { Node } from './node';
import { sortTopologically } from './sort-objects';

const graphs = fc
  .integer({ min: 1, max: 12 })
  .chain((size) =>
    fc.tuple(fc.constant(size), fc.array(fc.tuple(fc.nat(size - 1), fc.nat(size - 1)), { maxLength: 30 })),
  );

function nodesOf(size: number, needs: readonly (readonly [number, number])[]): Node[] {
  const nodes = Array.from({ length: size }, (_, place): Node => {
    const object = {
      form: 'silent',
      kind: 'table',
      id: String(place),
      schema: null,
      name: '',
      ties: [],
    } as const;
    return { object, place, needs: new Set(), separate: true, dummy: false, postponed: false, shown: false };
  });
  for (const [later, earlier] of needs) nodes[later]!.needs.add(nodes[earlier]!);
  return nodes;
}

it('every object comes after what it needs, or circles among the rest are found', () => {
  fc.assert(
    fc.property(graphs, ([size, needs]) => {
      const nodes = nodesOf(size, needs);
      const sorted = sortTopologically(nodes);
      if ('ordered' in sorted) {
        const at = new Map(sorted.ordered.map((node, index) => [node, index]));
        expect(at.size).toBe(size);
        for (const node of nodes)
          for (const need of node.needs) expect(at.get(need)!).toBeLessThan(at.get(node)!);
        return;
      }
      const circles = [...findCircles(sorted.stuck)];
      expect(circles.length).toBeGreaterThan(0);
      const members = circles.flat();
      expect(new Set(members).size).toBe(members.length);
      for (const circle of circles)
        circle.forEach((node, i) => expect(node.needs.has(circle[(i + 1) % circle.length]!)).toBe(true));
    }),
  );
});

it('what needs nothing keeps its place', () => {
  const nodes = nodesOf(5, []);
  expect(sortTopologically(nodes)).toEqual({ ordered: nodes });
});

it('texts are ordered as their bytes in UTF-8', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
      expect(Math.sign(compareTexts(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
});
