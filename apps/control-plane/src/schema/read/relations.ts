import type { Column, SchemaObject, SequenceObject, TableObject } from '../model';
import { flag, list, schemaChanged, type SchemaQuery, type SchemaRow, text } from '../schema-query';
import {
  dependsOnExtensions,
  genericOptions,
  identity,
  json,
  notMember,
  otherCollation,
  ownerName,
  USER_SCHEMA,
} from './catalog-sql';

const RELATIONS = `
  select ${identity('c')} id, n.nspname schema, c.relname name, c.relkind relation, c.relpersistence = 'u' unlogged,
    ${ownerName('c.relowner')} owner, ${json('c.relacl::text[]')} items,
    ${json(`acldefault(case when c.relkind = 'S' then 's'::"char" else 'r'::"char" end, c.relowner)::text[]`)} base,
    c.relispartition "partition", c.relreplident replica_identity, c.relforcerowsecurity forces, c.relrowsecurity secured,
    ${json(`array_remove(array_remove(c.reloptions, 'check_option=local'), 'check_option=cascaded')`)} options,
    ${json('tc.reloptions')} toast_options,
    case when 'check_option=local' = any (c.reloptions) then 'LOCAL'
         when 'check_option=cascaded' = any (c.reloptions) then 'CASCADED' end check_option,
    am.amname access_method, ts.spcname "tablespace",
    case when c.reloftype <> 0 then format_type(c.reloftype, null) end of_type,
    case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end partition_key,
    case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end query,
    fs.srvname server, ${genericOptions('ft.ftoptions')} server_options,
    ${json(`array(select i.inhparent from pg_inherits i where i.inhrelid = c.oid order by i.inhseqno)::text[]`)} parents,
    case when c.relispartition then pg_get_expr(c.relpartbound, c.oid) end bound,
    ${dependsOnExtensions('c')} extensions, ${notMember('c')} written
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
    left join pg_am am on am.oid = c.relam
    left join pg_tablespace ts on ts.oid = c.reltablespace
    left join pg_class tc on tc.oid = c.reltoastrelid and c.relkind <> 'p'
    left join pg_foreign_table ft on ft.ftrelid = c.oid
    left join pg_foreign_server fs on fs.oid = ft.ftserver
  where c.relkind in ('r', 'v', 'c', 'm', 'f', 'p') and ${USER_SCHEMA}
  order by c.oid`;

const COLUMNS = `
  select 'pg_class'::regclass::oid || ':' || a.attrelid id, a.attnum number, a.attname name, format_type(a.atttypid, a.atttypmod) type,
    a.attnotnull not_null, a.attislocal local, nullif(a.attidentity, '') identity, a.attgenerated <> '' generated,
    ${otherCollation('a.attcollation', 't.typcollation')} "collation", a.attstattarget statistics,
    case when a.attstorage <> t.typstorage then a.attstorage end storage, nullif(a.attcompression, '') compression,
    array_to_string(a.attoptions, ', ') options, nullif(${genericOptions('a.attfdwoptions')}, '') foreign_options,
    ${json('a.attacl::text[]')} items
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    join pg_type t on t.oid = a.atttypid
  where c.relkind in ('r', 'v', 'c', 'm', 'f', 'p') and a.attnum > 0 and not a.attisdropped and ${USER_SCHEMA}
  order by a.attrelid, a.attnum`;

const SEQUENCES = `
  select ${identity('c')} id, n.nspname schema, c.relname name, ${ownerName('c.relowner')} owner, c.relpersistence = 'u' unlogged,
    ${json('c.relacl::text[]')} items, ${json(`acldefault('s', c.relowner)::text[]`)} base,
    format_type(s.seqtypid, null) value_type, s.seqstart start, s.seqincrement increment, s.seqmin minimum, s.seqmax maximum,
    s.seqcache cache, s.seqcycle cycle, d.refclassid || ':' || d.refobjid owned_by, d.refobjsubid owned_column, d.deptype owned_as
  from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
    left join pg_depend d on d.classid = c.tableoid and d.objid = c.oid and d.objsubid = 0
      and d.refclassid = c.tableoid and d.deptype in ('a', 'i')
  where ${USER_SCHEMA} and ${notMember('c')}`;

const STORAGE: Readonly<Record<string, string>> = { p: 'PLAIN', e: 'EXTERNAL', x: 'EXTENDED', m: 'MAIN' };
const COMPRESSION: Readonly<Record<string, string>> = { p: 'pglz', l: 'lz4' };
const LIMITS: Readonly<Record<string, bigint>> = { smallint: 15n, integer: 31n, bigint: 63n };

export interface Relations {
  readonly objects: readonly SchemaObject[];
  readonly needs: readonly (readonly [string, string])[];
}

/** Tables, views, composite types' relations and sequences, with what attaches partitions and turns row security on. */
export async function readRelations(query: SchemaQuery): Promise<Relations> {
  const columns = columnsByTable(await query(COLUMNS));
  const rows = await query(RELATIONS);
  const tables = rows.map((row) => table(row, columns.get(text(row, 'id')) ?? []));
  const attached = rows.filter((row) => flag(row, 'partition') && flag(row, 'written'));
  const secured = rows.filter((row) => flag(row, 'secured') && flag(row, 'written'));
  const byId = new Map(tables.map((one) => [one.id, one]));
  const attaches = attached.map((row) => attach(row, byId));
  return {
    objects: [
      ...tables,
      ...attaches.map(({ object }) => object),
      ...secured.map(rowSecurity),
      ...(await query(SEQUENCES)).map(sequence),
    ],
    needs: attaches.flatMap(({ needs }) => needs),
  };
}

function columnsByTable(rows: readonly SchemaRow[]): ReadonlyMap<string, Column[]> {
  const columns = new Map<string, Column[]>();
  for (const row of rows) {
    const id = text(row, 'id');
    const known = columns.get(id);
    if (known) known.push(column(row));
    else columns.set(id, [column(row)]);
  }
  return columns;
}

function column(row: SchemaRow): Column {
  const settings: string[] = [];
  if (Number(row['statistics'] ?? -1) >= 0) settings.push(`SET STATISTICS ${row['statistics']}`);
  if (row['storage']) settings.push(`SET STORAGE ${STORAGE[row['storage']]}`);
  if (row['compression']) settings.push(`SET COMPRESSION ${COMPRESSION[row['compression']]}`);
  if (row['options']) settings.push(`SET (${row['options']})`);
  if (row['foreign_options']) settings.push(`OPTIONS (\n    ${row['foreign_options']}\n)`);
  return {
    number: Number(text(row, 'number')),
    name: text(row, 'name'),
    type: text(row, 'type'),
    notNull: flag(row, 'not_null'),
    local: flag(row, 'local'),
    identity: (row['identity'] as 'a' | 'd' | null) ?? null,
    generated: flag(row, 'generated'),
    collation: row['collation'] ?? null,
    settings,
    items: list(row, 'items'),
  };
}

function table(row: SchemaRow, columns: readonly Column[]): TableObject {
  const relation = text(row, 'relation');
  const written = flag(row, 'written') && relation !== 'c';
  const query = 'vm'.includes(relation) ? text(row, 'query').replace(/;$/, '') : null;
  return {
    form: 'table',
    kind: 'table',
    id: text(row, 'id'),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [],
    relation,
    owner: text(row, 'owner'),
    unlogged: flag(row, 'unlogged'),
    columns,
    parents: list(row, 'parents').map((oid) => `${text(row, 'id').split(':')[0]}:${oid}`),
    partition: flag(row, 'partition'),
    options: [...list(row, 'options'), ...list(row, 'toast_options').map((option) => `toast.${option}`)],
    checkOption: row['check_option'] ?? null,
    accessMethod: row['access_method'] ?? null,
    tablespace: row['tablespace'] ?? null,
    ofType: row['of_type'] ?? null,
    partitionKey: row['partition_key'] ?? null,
    query,
    server: row['server'] ?? null,
    serverOptions: row['server_options'] || null,
    replicaIdentity: text(row, 'replica_identity'),
    forcesRowSecurity: flag(row, 'forces'),
    dependsOnExtensions: list(row, 'extensions'),
    items: row['items'] ? list(row, 'items') : null,
    base: list(row, 'base'),
    written,
  };
}

function attach(row: SchemaRow, tables: ReadonlyMap<string, TableObject>) {
  const id = text(row, 'id');
  const child = tables.get(id);
  const parent = child && tables.get(child.parents[0] ?? '');
  if (!child || !parent) throw schemaChanged(`the parent of partition ${text(row, 'name')}`);
  const object: SchemaObject = {
    form: 'attach',
    kind: 'table-attach',
    id: `attach:${id}`,
    schema: child.schema,
    name: child.name,
    ties: [],
    parent: parent.id,
    child: child.id,
    bound: text(row, 'bound'),
  };
  return {
    object,
    needs: [
      [object.id, child.id],
      [object.id, parent.id],
    ] as const,
  };
}

function rowSecurity(row: SchemaRow): SchemaObject {
  return {
    form: 'row-security',
    kind: 'policy',
    id: `row-security:${text(row, 'id')}`,
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [text(row, 'name')],
    table: text(row, 'id'),
  };
}

function sequence(row: SchemaRow): SequenceObject {
  const increment = text(row, 'increment');
  const bits = LIMITS[text(row, 'value_type')] ?? 63n;
  const ascending = !increment.startsWith('-');
  const [lowest, highest] = ascending ? [1n, 2n ** bits - 1n] : [-(2n ** bits), -1n];
  const unless = (limit: bigint, name: string): string | null =>
    text(row, name) === String(limit) ? null : text(row, name);
  return {
    form: 'sequence',
    kind: 'table',
    id: text(row, 'id'),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [],
    owner: text(row, 'owner'),
    unlogged: flag(row, 'unlogged'),
    valueType: text(row, 'value_type'),
    start: text(row, 'start'),
    increment,
    minimum: unless(lowest, 'minimum'),
    maximum: unless(highest, 'maximum'),
    cache: text(row, 'cache'),
    cycle: flag(row, 'cycle'),
    ownedBy: row['owned_by']
      ? {
          table: row['owned_by'],
          column: Number(text(row, 'owned_column')),
          identity: row['owned_as'] === 'i',
        }
      : null,
    items: row['items'] ? list(row, 'items') : null,
    base: list(row, 'base'),
  };
}
