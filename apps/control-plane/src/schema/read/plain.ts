import type { Grants, ObjectKind, PlainObject } from '../model';
import { list, type SchemaRow, text } from '../schema-query';

/** What is the same for all rows of one catalog. */
export interface PlainKind {
  readonly kind: ObjectKind;
  /** `TYPE`: the heading's word, and COMMENT's and ALTER … OWNER's unless they differ. */
  readonly type: string;
  readonly commentOn?: string;
  /** GRANT's word; without it there are no privileges. */
  readonly grantsOn?: string;
  /** Whether ALTER … OWNER TO exists for it. */
  readonly owned: boolean;
}

/**
 * A row whose SQL is a fixed text. Columns: `id`, `schema`, `name`, `owner`, `sql`; and where they differ from the name,
 * `quoted` (for COMMENT and OWNER), `tag` (heading), `called` (GRANT), `ties` (JSON); `items` and `base` with `grantsOn`.
 */
export function plainObject(
  row: SchemaRow,
  { kind, type, commentOn, grantsOn, owned }: PlainKind,
): PlainObject {
  const schema = row['schema'] ?? null;
  const quoted = text(row, 'quoted');
  return {
    form: 'plain',
    kind,
    id: text(row, 'id'),
    schema,
    name: text(row, 'name'),
    ties: list(row, 'ties'),
    type,
    tag: row['tag'] ?? text(row, 'name'),
    owner: row['owner'] ?? '',
    sql: text(row, 'sql'),
    ownerOf: owned ? `${type} ${row['qualified'] ?? quoted}` : null,
    comment: { on: commentOn ?? type, name: row['commented'] ?? quoted },
    grants: grantsOn ? grantsOf(row, grantsOn, row['called'] ?? quoted) : null,
  };
}

/** The privileges of a row with `items` and `base`; null where nobody granted or revoked. */
export function grantsOf(row: SchemaRow, on: string, name: string): Grants | null {
  return row['items'] ? { on, name, items: list(row, 'items'), base: list(row, 'base') } : null;
}
