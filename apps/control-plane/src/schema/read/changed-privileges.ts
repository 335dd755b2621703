import type { PlainObject } from '../model';
import { type SchemaQuery, type SchemaRow, text } from '../schema-query';
import { identity, json, notMember, ownerName } from './catalog-sql';
import { grantsOf } from './plain';

const changed = (alias: string, namespace: string, kind: string, owner: string, acl: string): string => `
  left join pg_init_privs i on i.classoid = ${alias}.tableoid and i.objoid = ${alias}.oid and i.objsubid = 0
  join pg_namespace n on n.oid = ${namespace}
  where ${acl} is distinct from i.initprivs and (n.nspname = 'pg_catalog' or not ${notMember(alias)})
    and coalesce(${acl}, acldefault(${kind}, ${owner})) <> coalesce(i.initprivs, acldefault(${kind}, ${owner}))`;

const privileges = (kind: string, owner: string, acl: string): string => `
  ${json(`coalesce(${acl}, acldefault(${kind}, ${owner}))::text[]`)} items,
  ${json(`coalesce(i.initprivs, acldefault(${kind}, ${owner}))::text[]`)} base, ${ownerName(owner)} owner`;

const RELATION_KIND = `case when c.relkind = 'S' then 's'::"char" else 'r'::"char" end`;

const RELATIONS = `
  select ${identity('c')} id, n.nspname schema, c.relname name, quote_ident(c.relname) quoted,
    case when c.relkind = 'S' then 'SEQUENCE' else 'TABLE' end "on", ${privileges(RELATION_KIND, 'c.relowner', 'c.relacl')}
  from pg_class c ${changed('c', 'c.relnamespace', RELATION_KIND, 'c.relowner', 'c.relacl')}`;

const ROUTINES = `
  select ${identity('p')} id, n.nspname schema, p.proname name, case p.prokind when 'p' then 'PROCEDURE' else 'FUNCTION' end "on",
    format('%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)) quoted, ${privileges(`'f'::"char"`, 'p.proowner', 'p.proacl')}
  from pg_proc p ${changed('p', 'p.pronamespace', `'f'::"char"`, 'p.proowner', 'p.proacl')}`;

/** Relations and functions of extensions and of PostgreSQL: they are not written, but what was granted or revoked on them is. */
export async function readChangedPrivileges(query: SchemaQuery): Promise<PlainObject[]> {
  return [
    ...(await query(RELATIONS)).map((row) => onlyPrivileges(row, 'table')),
    ...(await query(ROUTINES)).map((row) => onlyPrivileges(row, 'function')),
  ];
}

function onlyPrivileges(row: SchemaRow, kind: 'table' | 'function'): PlainObject {
  return {
    form: 'plain',
    kind,
    id: `privileges:${text(row, 'id')}`,
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [],
    type: text(row, 'on'),
    tag: text(row, 'name'),
    owner: text(row, 'owner'),
    sql: '',
    ownerOf: null,
    comment: null,
    grants: grantsOf(row, text(row, 'on'), text(row, 'quoted')),
  };
}
