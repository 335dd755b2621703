/**
 * How each sort of circle of needs is broken, as pg_dump does: an object is split in two (a view from its query, a table from
 * a CHECK constraint or default, a type from its name), or allowed to come after the boundary that keeps definitions before
 * indexes. A circle of two is the ordinary case: a table needs its defaults so that what they need comes first, and they need
 * it because PostgreSQL says so.
 */
import type { Node } from './node';

export interface Boundaries {
  /** Definitions come before it. */
  readonly before: Node;
  /** Indexes, constraints, triggers come after it. */
  readonly after: Node;
}

type Repair = (circle: readonly Node[], boundaries: Boundaries, shells: ReadonlyMap<string, Node>) => boolean;

/** Removes a need of the circle; of one that nothing explains, an arbitrary one. */
export function breakCircle(
  circle: readonly Node[],
  boundaries: Boundaries,
  shells: ReadonlyMap<string, Node>,
): void {
  if (REPAIRS.some((repair) => repair(circle, boundaries, shells))) return;
  const [first, second = first] = circle;
  first!.needs.delete(second!);
}

const typeAndFunction: Repair = (circle, _boundaries, shells) => {
  const type = circle.find(({ object }) => object.kind === 'type' && object.form !== 'shell');
  const routine = circle.find(({ object }) => object.kind === 'function');
  if (circle.length !== 2 || !type || !routine) return false;
  routine.needs.delete(type);
  const shell = shells.get(type.object.id);
  if (shell) {
    routine.needs.add(shell);
    shell.shown = true;
  }
  return true;
};

const viewAndQuery: Repair = (circle, { after }) => {
  const pair = ownedPair(circle, (owner, part) =>
    part.object.form === 'rule' && part.object.isQuery && part.object.table === owner.object.id
      ? circle.length === 2 || isRelation(owner, 'v')
      : false,
  );
  if (!pair) return false;
  split(pair, circle.length, after);
  if (circle.length > 2) pair.owner.dummy = true;
  return true;
};

/** A materialized view or function that needs a unique index comes after it. */
const boundary =
  (applies: (node: Node) => boolean): Repair =>
  (circle, { before }) => {
    const at = circle.indexOf(before);
    if (circle.length <= 2 || at < 0 || !circle.some(applies)) return false;
    const next = circle[(at + 1) % circle.length]!;
    before.needs.delete(next);
    if (applies(next)) next.postponed = true;
    return true;
  };

const checkOf =
  (kind: 'table' | 'type'): Repair =>
  (circle, { after }) => {
    const pair = ownedPair(
      circle,
      (owner, part) =>
        part.object.form === 'check' && part.object.of === owner.object.id && owner.object.kind === kind,
    );
    if (pair) split(pair, circle.length, after);
    return pair !== undefined;
  };

const defaultOfTable: Repair = (circle) => {
  const pair = ownedPair(
    circle,
    (owner, part) => part.object.form === 'default' && part.object.table === owner.object.id,
  );
  if (pair) split(pair, circle.length);
  return pair !== undefined;
};

const indexAndPart: Repair = (circle) => {
  const [one, other] = circle;
  if (circle.length !== 2 || one?.object.form !== 'index' || other?.object.form !== 'index') return false;
  const [whole, part] = one.object.parent === other.object.id ? [other, one] : [one, other];
  whole.needs.delete(part);
  return true;
};

const REPAIRS: readonly Repair[] = [
  typeAndFunction,
  viewAndQuery,
  boundary((node) => isRelation(node, 'm')),
  boundary(({ object }) => object.kind === 'function'),
  checkOf('table'),
  (circle, boundaries, shells) => circle.length === 2 && defaultOfTable(circle, boundaries, shells),
  indexAndPart,
  defaultOfTable,
  checkOf('type'),
];

interface Pair {
  readonly owner: Node;
  readonly part: Node;
}

function ownedPair(circle: readonly Node[], belongs: (owner: Node, part: Node) => boolean): Pair | undefined {
  for (const owner of circle) for (const part of circle) if (belongs(owner, part)) return { owner, part };
  return undefined;
}

/** In a circle of two the part stays within its owner; in a longer one it follows it, and with `after` the boundary, too. */
function split({ owner, part }: Pair, length: number, after?: Node): void {
  if (length === 2) {
    part.needs.delete(owner);
    return;
  }
  owner.needs.delete(part);
  part.separate = true;
  part.needs.add(owner);
  if (after) part.needs.add(after);
}

function isRelation({ object }: Node, relation: string): boolean {
  return object.form === 'table' && object.relation === relation;
}
