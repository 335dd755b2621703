import { OBJECT_KINDS, type SchemaObject } from '../model';

const RANK = new Map(OBJECT_KINDS.map((kind, rank) => [kind, rank]));

/** Order of the bytes of two texts in UTF-8, which is that of their code points. */
export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  for (let i = 0; i < a.length && i < b.length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    // Surrogates stand for code points above all others.
    if (x !== y) return isSurrogate(x) === isSurrogate(y) ? x - y : isSurrogate(x) ? 1 : -1;
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

/** By kind, schema (none last), name and what tells namesakes apart. */
export function compareObjects(a: SchemaObject, b: SchemaObject): number {
  return (
    RANK.get(a.kind)! - RANK.get(b.kind)! ||
    compareSchemas(a.schema, b.schema) ||
    compareTexts(a.name, b.name) ||
    compareTies(a.ties, b.ties) ||
    compareTexts(a.id, b.id)
  );
}

function compareSchemas(a: string | null, b: string | null): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  return compareTexts(a, b);
}

function compareTies(a: readonly (string | number)[], b: readonly (string | number)[]): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    const order = typeof x === 'number' && typeof y === 'number' ? x - y : compareTexts(String(x), String(y));
    if (order !== 0) return order;
  }
  return a.length - b.length;
}
