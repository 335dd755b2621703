import type { ObjectKind, SchemaModel, SchemaObject } from '../model';
import { type Boundaries, breakCircle } from './break-circle';
import { compareObjects } from './compare-names';
import { findCircles } from './find-circles';
import type { Node } from './node';
import { sortTopologically } from './sort-objects';

const AFTER_DATA: ReadonlySet<ObjectKind> = new Set<ObjectKind>([
  'index',
  'index-attach',
  'statistics',
  'trigger',
  'event-trigger',
  'default-privileges',
  'policy',
  'publication',
  'publication-table',
  'publication-schema',
]);
const PARTS: ReadonlySet<ObjectKind> = new Set<ObjectKind>(['rule', 'constraint', 'foreign-key']);

/** All objects in an order in which they can be made, each with how it is written. */
export function orderObjects(model: SchemaModel): readonly Node[] {
  const nodes = [...model.objects, boundary('pre-data-boundary'), boundary('post-data-boundary')]
    .sort(compareObjects)
    .map(nodeOf);
  const byId = new Map(nodes.map((node) => [node.object.id, node]));
  for (const [later, earlier] of model.needs) {
    const needed = byId.get(earlier);
    if (needed) byId.get(later)?.needs.add(needed);
  }
  const boundaries = { before: byId.get('pre-data-boundary')!, after: byId.get('post-data-boundary')! };
  for (const node of nodes) partOfItsOwner(node, byId);
  for (const node of nodes) keepToItsSide(node, boundaries);
  const shells = new Map(
    nodes
      .filter(({ object }) => object.form === 'shell')
      .map((node) => [node.object.id.slice('shell:'.length), node]),
  );
  for (;;) {
    const sorted = sortTopologically(nodes);
    if ('ordered' in sorted) return sorted.ordered;
    for (const circle of findCircles(sorted.stuck)) breakCircle(circle, boundaries, shells);
  }
}

function boundary(kind: 'pre-data-boundary' | 'post-data-boundary'): SchemaObject {
  return { form: 'silent', kind, id: kind, schema: null, name: '', ties: [] };
}

function nodeOf(object: SchemaObject, place: number): Node {
  return { object, place, needs: new Set(), separate: true, dummy: false, postponed: false, shown: false };
}

/** What can be written within its table, view or domain comes before it, with all that it needs itself. */
function partOfItsOwner(node: Node, byId: ReadonlyMap<string, Node>): void {
  const { object } = node;
  if (object.form === 'default') {
    const table = byId.get(object.table);
    node.separate = table?.object.form !== 'table' || isApart(table.object, object.column);
    if (!node.separate) table?.needs.add(node);
  } else if (object.form === 'check') {
    node.separate = !object.validated;
    if (!node.separate) byId.get(object.of)?.needs.add(node);
  } else if (object.form === 'rule') {
    node.separate = !object.isQuery;
    const table = byId.get(object.table);
    if (!table) return;
    if (object.isQuery) table.needs.add(node);
    else node.needs.add(table);
  }
}

/** Whether a column's default cannot be said where the table is created: the column is not named there. */
function isApart(table: SchemaObject & { form: 'table' }, number: number): boolean {
  const column = table.columns.find((one) => one.number === number);
  if (column?.generated) return false;
  return table.relation === 'v' || !(column?.local || table.partition);
}

function keepToItsSide(node: Node, { before, after }: Boundaries): void {
  const { kind } = node.object;
  if (node === before) return;
  if (node === after) node.needs.add(before);
  else if (AFTER_DATA.has(kind)) node.needs.add(after);
  else if (!PARTS.has(kind)) before.needs.add(node);
  else if (node.separate) node.needs.add(after);
}
