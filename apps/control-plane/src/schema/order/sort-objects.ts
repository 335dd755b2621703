import type { Node } from './node';

/**
 * Puts nodes, given in their preferred order, so that each comes after what it needs, moving as few as possible: from the
 * end backwards, of the nodes that nothing left needs the last one is taken. Returns the nodes that could not be placed when
 * needs go in a circle.
 */
export function sortTopologically(
  nodes: readonly Node[],
): { readonly ordered: readonly Node[] } | { readonly stuck: readonly Node[] } {
  const needed = new Map<Node, number>(nodes.map((node) => [node, 0]));
  for (const node of nodes) for (const need of node.needs) needed.set(need, needed.get(need)! + 1);
  const ready = new LastFirst();
  for (const node of nodes) if (needed.get(node) === 0) ready.add(node);
  const backwards: Node[] = [];
  for (let node = ready.take(); node; node = ready.take()) {
    backwards.push(node);
    for (const need of node.needs) {
      const left = needed.get(need)! - 1;
      needed.set(need, left);
      if (left === 0) ready.add(need);
    }
  }
  if (backwards.length === nodes.length) return { ordered: backwards.reverse() };
  return { stuck: nodes.filter((node) => needed.get(node)! > 0) };
}

/** A heap that gives the node with the greatest place. */
class LastFirst {
  readonly #heap: Node[] = [];

  add(node: Node): void {
    let at = this.#heap.push(node) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#heap[parent]!.place >= this.#heap[at]!.place) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  take(): Node | undefined {
    const top = this.#heap[0];
    const last = this.#heap.pop();
    if (!top || !last || top === last) return top;
    this.#heap[0] = last;
    for (let at = 0, child = 1; child < this.#heap.length; child = 2 * at + 1) {
      const right = this.#heap[child + 1];
      if (right && right.place > this.#heap[child]!.place) child++;
      if (this.#heap[at]!.place >= this.#heap[child]!.place) break;
      this.#swap(at, child);
      at = child;
    }
    return top;
  }

  #swap(a: number, b: number): void {
    const one = this.#heap[a]!;
    this.#heap[a] = this.#heap[b]!;
    this.#heap[b] = one;
  }
}
