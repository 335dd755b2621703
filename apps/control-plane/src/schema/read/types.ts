import type { DomainObject, PlainObject, SchemaObject } from '../model';
import { flag, type SchemaQuery, type SchemaRow, text } from '../schema-query';
import { identity, json, notMember, otherCollation, ownerName, USER_SCHEMA } from './catalog-sql';
import { grantsOf, plainObject } from './plain';

const literal = (expression: string): string => `'''' || replace(${expression}, '''', '''''') || ''''`;

const ENUM = `format(E'CREATE TYPE %s AS ENUM (%s\\n);\\n', format('%I.%I', n.nspname, t.typname),
  (select string_agg(E'\\n    ' || ${literal('e.enumlabel')}, ',' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid))`;

const RANGE = `(select format(E'CREATE TYPE %I.%I AS RANGE (\\n    subtype = %s', n.nspname, t.typname, format_type(r.rngsubtype, null))
    || format(E',\\n    multirange_type_name = %s', format_type(r.rngmultitypid, null))
    || case when k.opcdefault then '' else format(E',\\n    subtype_opclass = %I.%I', kn.nspname, k.opcname) end
    || coalesce(E',\\n    collation = ' || ${otherCollation('r.rngcollation', 'st.typcollation')}, '')
    || case when r.rngcanonical <> 0 then E',\\n    canonical = ' || r.rngcanonical::text else '' end
    || case when r.rngsubdiff <> 0 then E',\\n    subtype_diff = ' || r.rngsubdiff::text else '' end || E'\\n);\\n'
  from pg_range r join pg_type st on st.oid = r.rngsubtype join pg_opclass k on k.oid = r.rngsubopc
    join pg_namespace kn on kn.oid = k.opcnamespace where r.rngtypid = t.oid)`;

const COMPOSITE = `format(E'CREATE TYPE %I.%I AS (%s\\n);\\n', n.nspname, t.typname,
  (select string_agg(format(E'\\n\\t%I %s', a.attname, format_type(a.atttypid, a.atttypmod))
      || coalesce(' COLLATE ' || ${otherCollation('a.attcollation', 'ct.typcollation')}, ''), ',' order by a.attnum)
   from pg_attribute a join pg_type ct on ct.oid = a.atttypid where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped))`;

const regproc = (column: string, word: string): string =>
  `case when t.${column} <> 0 then E',\\n    ${word} = ' || t.${column}::text else '' end`;

const BASE = `format(E'CREATE TYPE %I.%I (\\n    INTERNALLENGTH = %s', n.nspname, t.typname,
    case when t.typlen = -1 then 'variable' else t.typlen::text end)
  || E',\\n    INPUT = ' || t.typinput::text || E',\\n    OUTPUT = ' || t.typoutput::text
  || ${regproc('typreceive', 'RECEIVE')} || ${regproc('typsend', 'SEND')} || ${regproc('typmodin', 'TYPMOD_IN')}
  || ${regproc('typmodout', 'TYPMOD_OUT')} || ${regproc('typanalyze', 'ANALYZE')}
  || case when t.typcollation <> 0 then E',\\n    COLLATABLE = true' else '' end
  || coalesce(E',\\n    DEFAULT = ' || coalesce(pg_get_expr(t.typdefaultbin, 0), ${literal('t.typdefault')}), '')
  || ${regproc('typsubscript', 'SUBSCRIPT')}
  || case when t.typelem <> 0 then E',\\n    ELEMENT = ' || format_type(t.typelem, null) else '' end
  || case when t.typcategory <> 'U' then format(E',\\n    CATEGORY = %L', t.typcategory) else '' end
  || case when t.typispreferred then E',\\n    PREFERRED = true' else '' end
  || case when t.typdelim <> ',' then format(E',\\n    DELIMITER = %L', t.typdelim) else '' end
  || case t.typalign when 'c' then E',\\n    ALIGNMENT = char' when 's' then E',\\n    ALIGNMENT = int2'
       when 'i' then E',\\n    ALIGNMENT = int4' when 'd' then E',\\n    ALIGNMENT = double' end
  || case t.typstorage when 'p' then E',\\n    STORAGE = plain' when 'e' then E',\\n    STORAGE = external'
       when 'x' then E',\\n    STORAGE = extended' when 'm' then E',\\n    STORAGE = main' end
  || case when t.typbyval then E',\\n    PASSEDBYVALUE' else '' end || E'\\n);\\n'`;

const TYPES = `
  select ${identity('t')} id, n.nspname schema, t.typname name, quote_ident(t.typname) quoted, ${ownerName('t.typowner')} owner,
    format('%I.%I', n.nspname, t.typname) qualified, ${json('t.typacl::text[]')} items, ${json(`acldefault('T', t.typowner)::text[]`)} base_items,
    case when (t.typrelid <> 0 and (select relkind from pg_class where oid = t.typrelid) <> 'c')
      or t.typtype = 'm' or exists (select from pg_type el where el.oid = t.typelem and el.typarray = t.oid) then 'row' else t.typtype::text end type,
    t.typisdefined defined, case when t.typrelid <> 0 then 'pg_class'::regclass::oid || ':' || t.typrelid end relation,
    case when not t.typisdefined then format(E'CREATE TYPE %I.%I;\\n', n.nspname, t.typname)
      when t.typtype = 'e' then ${ENUM} when t.typtype = 'r' then ${RANGE} when t.typtype = 'c' then ${COMPOSITE}
      when t.typtype = 'b' and t.typelem = 0 or t.typsubscript <> 'array_subscript_handler'::regproc then ${BASE} end sql,
    format_type(t.typbasetype, t.typtypmod)
      || coalesce(' COLLATE ' || ${otherCollation('t.typcollation', 'bt.typcollation')}, '') base,
    t.typnotnull not_null,
    coalesce(pg_get_expr(t.typdefaultbin, 'pg_type'::regclass), ${literal('t.typdefault')}) "default",
    ${notMember('t')} written
  from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_type bt on bt.oid = t.typbasetype
  where ${USER_SCHEMA} order by t.oid`;

const ATTRIBUTES = `
  select ${identity('t')} id, a.attnum number, a.attname name from pg_type t join pg_namespace n on n.oid = t.typnamespace
    join pg_class c on c.oid = t.typrelid join pg_attribute a on a.attrelid = c.oid
  where c.relkind = 'c' and a.attnum > 0 and not a.attisdropped and ${USER_SCHEMA}`;

const CHECKS = `
  select ${identity('o')} id, n.nspname schema, o.conname name, o.contype type, o.convalidated validated, ${identity('t')} "of",
    t.typname type_name, pg_get_constraintdef(o.oid) definition
  from pg_constraint o join pg_type t on t.oid = o.contypid join pg_namespace n on n.oid = t.typnamespace
  where o.contype in ('c', 'n') and ${USER_SCHEMA} and ${notMember('t')}
  order by o.contypid, o.conname`;

export interface Types {
  readonly objects: readonly SchemaObject[];
  /** The shell of a base or range type by the type's identity: what its own functions need. */
  readonly shells: ReadonlyMap<string, string>;
}

/** Types of all sorts, the constraints of domains, and silently the row types that order other objects. */
export async function readTypes(query: SchemaQuery): Promise<Types> {
  const rows = await query(TYPES);
  const attributes = new Map<string, Map<number, string>>();
  for (const row of await query(ATTRIBUTES)) {
    const names = attributes.get(text(row, 'id')) ?? new Map<number, string>();
    attributes.set(text(row, 'id'), names.set(Number(text(row, 'number')), text(row, 'name')));
  }
  const types = rows.map((row) => typeOf(row, attributes));
  const shells = rows.filter(
    (row) => 'br'.includes(text(row, 'type')) && flag(row, 'written') && flag(row, 'defined'),
  );
  return {
    objects: [...types, ...shells.map(shell), ...(await query(CHECKS)).map(check)],
    shells: new Map(shells.map((row) => [text(row, 'id'), `shell:${text(row, 'id')}`])),
  };
}

function typeOf(row: SchemaRow, attributes: ReadonlyMap<string, ReadonlyMap<number, string>>): SchemaObject {
  const type = text(row, 'type');
  if (type === 'row' || !flag(row, 'written')) return silent(row, type === 'row' ? 'row-type' : 'type');
  if (type === 'd') return domain(row);
  const object: PlainObject = {
    ...plainObject(
      { ...row, base: row['base_items'] ?? null },
      { kind: 'type', type: 'TYPE', grantsOn: 'TYPE', owned: true },
    ),
  };
  const columns = attributes.get(object.id);
  return columns && row['relation'] ? { ...object, columns, columnsOf: row['relation'] } : object;
}

function silent(row: SchemaRow, kind: 'row-type' | 'type'): SchemaObject {
  return {
    form: 'silent',
    kind,
    id: text(row, 'id'),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [],
  };
}

function domain(row: SchemaRow): DomainObject {
  const quoted = text(row, 'quoted');
  return {
    form: 'domain',
    kind: 'type',
    id: text(row, 'id'),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [],
    owner: text(row, 'owner'),
    base: text(row, 'base'),
    notNull: flag(row, 'not_null'),
    default: row['default'] ?? null,
    grants: grantsOf({ ...row, base: row['base_items'] ?? null }, 'TYPE', quoted),
  };
}

/** A type's name before the type, for the functions that read and write its values. */
function shell(row: SchemaRow): SchemaObject {
  return {
    form: 'shell',
    kind: 'type',
    id: `shell:${text(row, 'id')}`,
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: ['shell'],
    owner: text(row, 'owner'),
    sql: `CREATE TYPE ${text(row, 'qualified')};\n`,
  };
}

function check(row: SchemaRow): SchemaObject {
  return {
    form: 'check',
    kind: 'constraint',
    id: text(row, 'id'),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [0, text(row, 'type_name')],
    of: text(row, 'of'),
    type: text(row, 'type') as 'c' | 'n',
    definition: text(row, 'definition'),
    local: true,
    validated: flag(row, 'validated'),
  };
}
