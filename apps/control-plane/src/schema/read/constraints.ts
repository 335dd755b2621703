import type { KeyConstraint, SchemaObject } from '../model';
import { flag, list, type SchemaQuery, type SchemaRow, text } from '../schema-query';
import { identity, json, notMember, USER_SCHEMA } from './catalog-sql';

const DEFAULTS = `
  select ${identity('d')} id, n.nspname schema, c.relname name, ${identity('c')} "table", d.adnum "column",
    pg_get_expr(d.adbin, d.adrelid) expression
  from pg_attrdef d join pg_class c on c.oid = d.adrelid join pg_namespace n on n.oid = c.relnamespace
  where ${USER_SCHEMA} and c.relpersistence <> 't'
  order by d.adrelid, d.adnum`;

const columnNames = (table: string, numbers: string): string =>
  json(`array(select a.attname from unnest(${numbers}) with ordinality k (number, place)
    join pg_attribute a on a.attrelid = ${table} and a.attnum = k.number order by k.place)::text[]`);

const CONSTRAINTS = `
  select ${identity('o')} id, n.nspname schema, o.conname name, o.contype type, o.conislocal local, o.convalidated validated,
    ${identity('c')} "table", c.relname table_name, c.relkind relation, pg_get_constraintdef(o.oid) definition, o.conparentid <> 0 part,
    exists (select from pg_constraint w where w.oid = o.conparentid and w.conrelid = o.conrelid) derived,
    case when o.conindid <> 0 then 'pg_class'::regclass::oid || ':' || o.conindid end "index",
    ${columnNames('o.conrelid', 'o.conkey')} columns, fn.nspname other_schema, f.relname other_table,
    ${columnNames('o.confrelid', 'o.confkey')} other_columns,
    f.relkind = 'p' other_parted
  from pg_constraint o join pg_class c on c.oid = o.conrelid join pg_namespace n on n.oid = c.relnamespace
    left join pg_class f on f.oid = o.confrelid left join pg_namespace fn on fn.oid = f.relnamespace
  where o.contype in ('c', 'f', 'p', 'u', 'x') and ${USER_SCHEMA} and ${notMember('c')}
  order by o.conrelid, o.conname`;

export interface ForeignKey {
  readonly id: string;
  /** The index that it refers to, when that is one of a partitioned table. */
  readonly partitionedIndex: string | null;
}

export interface Constraints {
  readonly objects: readonly SchemaObject[];
  readonly keys: readonly KeyConstraint[];
  readonly foreignKeys: readonly ForeignKey[];
}

/** Defaults, CHECK and foreign key constraints; those that an index enforces are read with the indexes. */
export async function readConstraints(query: SchemaQuery): Promise<Constraints> {
  const defaults = (await query(DEFAULTS)).map(defaultOf);
  const rows = await query(CONSTRAINTS);
  const checks = rows.filter((row) => row['type'] === 'c').map(check);
  const foreign = rows.filter((row) => row['type'] === 'f' && !flag(row, 'part'));
  return {
    objects: [...defaults, ...checks, ...foreign.map(foreignKey)],
    // A foreign key to a partitioned table has one more for each partition, on the same table.
    keys: rows.filter((row) => 'puf'.includes(text(row, 'type')) && !flag(row, 'derived')).map(key),
    foreignKeys: foreign.map((row) => ({
      id: text(row, 'id'),
      partitionedIndex: flag(row, 'other_parted') ? (row['index'] ?? null) : null,
    })),
  };
}

function defaultOf(row: SchemaRow): SchemaObject {
  return {
    form: 'default',
    kind: 'default',
    id: text(row, 'id'),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [Number(text(row, 'column'))],
    table: text(row, 'table'),
    column: Number(text(row, 'column')),
    expression: text(row, 'expression'),
  };
}

function check(row: SchemaRow): SchemaObject {
  return {
    form: 'check',
    kind: 'constraint',
    id: text(row, 'id'),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [1, text(row, 'table_name')],
    of: text(row, 'table'),
    type: 'c',
    definition: text(row, 'definition'),
    local: flag(row, 'local'),
    validated: flag(row, 'validated'),
  };
}

function foreignKey(row: SchemaRow): SchemaObject {
  return {
    form: 'key',
    kind: 'foreign-key',
    id: text(row, 'id'),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [1, text(row, 'table_name')],
    table: text(row, 'table'),
    type: 'FK CONSTRAINT',
    definition: text(row, 'definition'),
    index: null,
    // Foreign keys of partitioned tables are those of their partitions, others are the named table's alone.
    only: row['relation'] !== 'p',
  };
}

function key(row: SchemaRow): KeyConstraint {
  const other = row['other_table'];
  return {
    table: text(row, 'table'),
    type: text(row, 'type') as KeyConstraint['type'],
    name: text(row, 'name'),
    columns: list(row, 'columns'),
    references: other
      ? { schema: text(row, 'other_schema'), table: other, columns: list(row, 'other_columns') }
      : null,
  };
}
