import type { SchemaObject } from '../model';
import { type SchemaQuery, text } from '../schema-query';

const FIRST_USER_OID = 16384;

/**
 * Columns are not told apart from their tables. What a member of an operator family needs, the family needs, but for what
 * points at the family itself.
 */
const DEPENDENCIES = `
  select d.classid || ':' || d.objid id, d.refclassid || ':' || d.refobjid needs, d.deptype = 'i' internal
  from pg_depend d where d.deptype not in ('p', 'e') and d.objid >= ${FIRST_USER_OID}
  union all
  select 'pg_opfamily'::regclass::oid || ':' || o.amopfamily, d.refclassid || ':' || d.refobjid, false
  from pg_depend d join pg_amop o on d.objid = o.oid where d.classid = 'pg_amop'::regclass and d.deptype not in ('p', 'e', 'i')
    and not (d.refclassid = 'pg_opfamily'::regclass and o.amopfamily = d.refobjid)
  union all
  select 'pg_opfamily'::regclass::oid || ':' || o.amprocfamily, d.refclassid || ':' || d.refobjid, false
  from pg_depend d join pg_amproc o on d.objid = o.oid where d.classid = 'pg_amproc'::regclass and d.deptype not in ('p', 'e', 'i')
    and not (d.refclassid = 'pg_opfamily'::regclass and o.amprocfamily = d.refobjid)
  order by 1, 2`;

const MEMBERS = `
  select d.classid || ':' || d.objid id, d.refclassid || ':' || d.refobjid extension from pg_depend d where d.deptype = 'e'`;

const COMMENTS = `
  select d.classoid || ':' || d.objoid id, d.objsubid number, d.description from pg_description d
  where d.objoid >= ${FIRST_USER_OID} or d.classoid = 'pg_namespace'::regclass and d.objoid = to_regnamespace('public')
  order by d.classoid, d.objoid, d.objsubid`;

/** Extensions by the identities of their members. */
export async function readMembers(query: SchemaQuery): Promise<ReadonlyMap<string, string>> {
  return new Map((await query(MEMBERS)).map((row) => [text(row, 'id'), text(row, 'extension')]));
}

/** `[later, earlier]` pairs of known objects; what is an extension's stands for the extension. */
export async function readDependencies(
  query: SchemaQuery,
  known: ReadonlyMap<string, SchemaObject>,
  members: ReadonlyMap<string, string>,
): Promise<[string, string][]> {
  const needs: [string, string][] = [];
  for (const row of await query(DEPENDENCIES)) {
    const later = known.get(text(row, 'id'));
    const earlier = known.get(text(row, 'needs')) ?? known.get(members.get(text(row, 'needs')) ?? '');
    if (!later || !earlier) continue;
    // A composite type's relation depends on the type when it is dropped; to be made it comes first.
    const reversed =
      (row['internal'] === 't' || row['internal'] === 'true') && later.kind === 'table' && isType(earlier);
    needs.push(reversed ? [earlier.id, later.id] : [later.id, earlier.id]);
  }
  for (const [member, extension] of members)
    if (known.has(member) && known.has(extension)) needs.push([member, extension]);
  return needs;
}

function isType({ kind }: SchemaObject): boolean {
  return kind === 'type';
}

/** Comments by identity and column. */
export async function readComments(
  query: SchemaQuery,
): Promise<ReadonlyMap<string, ReadonlyMap<number, string>>> {
  const comments = new Map<string, Map<number, string>>();
  for (const row of await query(COMMENTS)) {
    const id = text(row, 'id');
    const of = comments.get(id) ?? new Map<number, string>();
    comments.set(id, of.set(Number(text(row, 'number')), text(row, 'description')));
  }
  return comments;
}
