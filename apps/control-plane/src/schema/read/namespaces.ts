import type { SchemaObject } from '../model';
import { list, type SchemaQuery, type SchemaRow, text } from '../schema-query';
import { identity, json, notMember, ownerName, USER_SCHEMA } from './catalog-sql';
import { grantsOf, plainObject } from './plain';

const FIRST_USER_OID = 16384;

const SCHEMAS = `
  select ${identity('n')} id, n.nspname name, quote_ident(n.nspname) quoted, ${ownerName('n.nspowner')} owner,
    n.nspname = 'public' public, ${json('n.nspacl::text[]')} items,
    ${json(`acldefault('n', n.nspowner)::text[]`)} base,
    ${json(`array[makeaclitem(n.nspowner, n.nspowner, 'USAGE, CREATE', false), makeaclitem(0, n.nspowner, 'USAGE', false)]::text[]`)} public_base,
    format(E'CREATE SCHEMA %I;\\n', n.nspname) sql
  from pg_namespace n where ${USER_SCHEMA} and ${notMember('n')}`;

const EXTENSIONS = `
  select ${identity('x')} id, x.extname name, quote_ident(x.extname) quoted,
    format(E'CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I;\\n', x.extname, n.nspname) sql
  from pg_extension x join pg_namespace n on n.oid = x.extnamespace where x.oid >= ${FIRST_USER_OID}`;

const DEFAULT_PRIVILEGES = `
  select ${identity('d')} id, n.nspname schema, d.defaclobjtype name, ${ownerName('d.defaclrole')} owner,
    ${json('d.defaclacl::text[]')} items,
    ${json(`case when d.defaclnamespace = 0 then acldefault(case when d.defaclobjtype = 'S' then 's'::"char" else d.defaclobjtype end, d.defaclrole)
      else '{}' end::text[]`)} base
  from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace`;

const PRIVILEGES_ON: Readonly<Record<string, string>> = {
  r: 'TABLES',
  S: 'SEQUENCES',
  f: 'FUNCTIONS',
  T: 'TYPES',
  n: 'SCHEMAS',
};

/** Schemas, extensions and default privileges. */
export async function readNamespaces(query: SchemaQuery): Promise<SchemaObject[]> {
  const schemas = await query(SCHEMAS);
  const extensions = await query(EXTENSIONS);
  const privileges = await query(DEFAULT_PRIVILEGES);
  return [
    ...schemas.map((row) =>
      row['public'] === 't' || row['public'] === 'true' ? publicSchema(row) : schema(row),
    ),
    ...extensions.map((row) => plainObject(row, { kind: 'extension', type: 'EXTENSION', owned: false })),
    ...privileges.map(defaultPrivileges),
  ];
}

function schema(row: SchemaRow): SchemaObject {
  return plainObject(row, { kind: 'schema', type: 'SCHEMA', grantsOn: 'SCHEMA', owned: true });
}

/** Every new database has it, as its owner's: only what was changed about it is written. */
function publicSchema(row: SchemaRow): SchemaObject {
  const changed = text(row, 'owner') !== 'pg_database_owner';
  return {
    ...plainObject({ ...row, sql: '' }, { kind: 'schema', type: 'SCHEMA', owned: changed }),
    sql: changed ? '-- *not* creating schema, since initdb creates it\n\n' : '',
    grants: {
      on: 'SCHEMA',
      name: 'public',
      items: row['items'] ? list(row, 'items') : list(row, 'base'),
      base: list(row, 'public_base'),
    },
  };
}

function defaultPrivileges(row: SchemaRow): SchemaObject {
  const on = PRIVILEGES_ON[text(row, 'name')];
  if (!on) throw new Error(`default privileges on objects of type ${row['name']}`);
  return {
    form: 'default-privileges',
    kind: 'default-privileges',
    id: text(row, 'id'),
    schema: row['schema'] ?? null,
    name: text(row, 'name'),
    ties: [text(row, 'owner')],
    owner: text(row, 'owner'),
    grants: grantsOf(row, on, '') ?? { on, name: '', items: [], base: list(row, 'base') },
  };
}
