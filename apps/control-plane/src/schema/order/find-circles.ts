import type { Node } from './node';

/**
 * Circles of needs among nodes that could not be sorted; no node is in two of them. Each begins with the node it was found
 * from, each of its nodes needs the next, the last needs the first.
 */
export function* findCircles(stuck: readonly Node[]): Generator<readonly Node[]> {
  const done = new Set<Node>();
  const failed = new Map<Node, Node>();
  for (const start of stuck) {
    const circle = circleFrom(start, done, failed);
    if (circle) yield circle;
    for (const node of circle ?? [start]) done.add(node);
  }
}

/** Depth first; on the way a node whose needs include the start ends the search before its other needs are looked at. */
function circleFrom(
  start: Node,
  done: ReadonlySet<Node>,
  failed: Map<Node, Node>,
): readonly Node[] | undefined {
  if (done.has(start)) return undefined;
  if (start.needs.has(start)) return [start];
  const path = [start];
  const onPath = new Set(path);
  const left = [start.needs.values()];
  while (path.length > 0) {
    const next = left.at(-1)!.next();
    if (next.done) {
      const node = path.pop()!;
      onPath.delete(node);
      left.pop();
      failed.set(node, start);
      continue;
    }
    const node = next.value;
    if (done.has(node) || failed.get(node) === start || onPath.has(node)) continue;
    path.push(node);
    if (node.needs.has(start)) return path;
    onPath.add(node);
    left.push(node.needs.values());
  }
  return undefined;
}
