import type { SchemaObject } from '../model';
import { flag, list, type SchemaQuery, type SchemaRow, text } from '../schema-query';
import { dependsOnExtensions, identity, json, notMember, USER_SCHEMA } from './catalog-sql';

const INDEXES = `
  select ${identity('t')} id, n.nspname schema, t.relname name, ${identity('c')} "table", c.relname table_name,
    pg_get_indexdef(i.indexrelid) definition, i.indisclustered clustered, i.indisreplident identifies,
    (select s.spcname from pg_tablespace s where s.oid = t.reltablespace) "tablespace",
    ${json(`array(select format('%s SET STATISTICS %s', a.attnum, a.attstattarget) from pg_attribute a
      where a.attrelid = i.indexrelid and a.attstattarget >= 0 order by a.attnum)::text[]`)} statistics,
    ${dependsOnExtensions('t')} extensions,
    case when inh.inhparent is not null then t.tableoid || ':' || inh.inhparent end parent,
    (select t.tableoid || ':' || p.indrelid from pg_index p where p.indexrelid = inh.inhparent) parent_table,
    c.relispartition "partition",
    ${identity('o')} constraint_id, o.conname constraint_name, o.contype type, o.condeferrable deferrable, o.condeferred deferred,
    i.indnullsnotdistinct nulls_same, ${json('t.reloptions')} options, pg_get_constraintdef(o.oid) constraint_definition,
    ${json(`array(select a.attname from unnest(i.indkey) with ordinality k (number, place)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number where k.place <= i.indnkeyatts order by k.place)::text[]`)} keys,
    ${json(`array(select a.attname from unnest(i.indkey) with ordinality k (number, place)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number where k.place > i.indnkeyatts order by k.place)::text[]`)} included
  from pg_index i join pg_class t on t.oid = i.indexrelid join pg_class c on c.oid = i.indrelid
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_constraint o on o.conrelid = i.indrelid and o.conindid = i.indexrelid and o.contype in ('p', 'u', 'x')
    left join pg_inherits inh on inh.inhrelid = i.indexrelid
  where (i.indisvalid or c.relkind = 'p') and i.indisready and ${USER_SCHEMA} and ${notMember('c')}
  order by i.indrelid, t.relname`;

/** Left out by pg_dump, too: what a failed CREATE INDEX CONCURRENTLY leaves behind. */
const INVALID_INDEXES = `
  select format('%I.%I', n.nspname, t.relname) name
  from pg_index i join pg_class t on t.oid = i.indexrelid join pg_class c on c.oid = i.indrelid
    join pg_namespace n on n.oid = c.relnamespace
  where not ((i.indisvalid or c.relkind = 'p') and i.indisready) and ${USER_SCHEMA} and ${notMember('c')}
  order by 1`;

export interface Indexes {
  readonly objects: readonly SchemaObject[];
  readonly needs: readonly (readonly [string, string])[];
  /** Identities of what attaches the parts of a partitioned index, by its identity. */
  readonly attaches: ReadonlyMap<string, readonly { readonly attach: string; readonly index: string }[]>;
  readonly notes: readonly string[];
}

/** Indexes, the constraints that they enforce, and the attachment of partitions' indexes. */
export async function readIndexes(query: SchemaQuery): Promise<Indexes> {
  const rows = await query(INDEXES);
  const known = new Set(rows.map((row) => text(row, 'id')));
  const attached = rows.filter((row) => flag(row, 'partition') && row['parent'] && known.has(row['parent']));
  const attaches = new Map<string, { attach: string; index: string }[]>();
  for (const row of attached) {
    const parts = attaches.get(text(row, 'parent')) ?? [];
    attaches.set(text(row, 'parent'), [
      ...parts,
      { attach: `attach:${text(row, 'id')}`, index: text(row, 'id') },
    ]);
  }
  return {
    objects: [
      ...rows.map(index),
      ...rows.filter((row) => row['constraint_id']).map(constraint),
      ...attached.map(attach),
    ],
    needs: attached.flatMap((row) =>
      ['id', 'parent', 'table', 'parent_table'].map(
        (name) => [`attach:${text(row, 'id')}`, text(row, name)] as const,
      ),
    ),
    attaches,
    notes: (await query(INVALID_INDEXES)).map((row) => `index ${text(row, 'name')} is invalid and left out`),
  };
}

function index(row: SchemaRow): SchemaObject {
  return {
    form: 'index',
    kind: 'index',
    id: text(row, 'id'),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [],
    table: text(row, 'table'),
    constraint: row['constraint_id'] ?? null,
    parent: row['parent'] ?? null,
    definition: text(row, 'definition'),
    tablespace: row['tablespace'] ?? null,
    clustered: flag(row, 'clustered'),
    identifies: flag(row, 'identifies'),
    statistics: list(row, 'statistics'),
    extensions: list(row, 'extensions'),
  };
}

function constraint(row: SchemaRow): SchemaObject {
  const type = text(row, 'type');
  return {
    form: 'key',
    kind: 'constraint',
    id: text(row, 'constraint_id'),
    schema: text(row, 'schema'),
    name: text(row, 'constraint_name'),
    ties: [1, text(row, 'table_name')],
    table: text(row, 'table'),
    type: 'CONSTRAINT',
    definition: type === 'x' ? text(row, 'constraint_definition') : null,
    unique: {
      primary: type === 'p',
      nullsSame: flag(row, 'nulls_same'),
      columns: list(row, 'keys'),
      included: list(row, 'included'),
      options: list(row, 'options'),
      deferrable: flag(row, 'deferrable'),
      deferred: flag(row, 'deferred'),
    },
    index: text(row, 'id'),
    only: true,
  };
}

function attach(row: SchemaRow): SchemaObject {
  return {
    form: 'index-attach',
    kind: 'index-attach',
    id: `attach:${text(row, 'id')}`,
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [],
    parent: text(row, 'parent'),
    child: text(row, 'id'),
  };
}
