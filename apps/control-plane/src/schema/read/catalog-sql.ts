/** Pieces of catalog queries. The session's search_path is empty: casts to reg* types and deparsed texts are qualified. */

/** Schemas that a database's users own. `n` is the alias of pg_namespace. */
export const USER_SCHEMA = `n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`;

/** Identity of a row as pg_depend names it. */
export const identity = (alias: string): string => `${alias}.tableoid || ':' || ${alias}.oid`;

/** Whether the row of `alias` is no extension's. */
export const notMember = (alias: string): string =>
  `not exists (select from pg_depend membership where membership.classid = ${alias}.tableoid
    and membership.objid = ${alias}.oid and membership.deptype = 'e')`;

export const ownerName = (column: string): string => `(select rolname from pg_roles where oid = ${column})`;

/** An array as JSON. */
export const json = (expression: string): string => `to_json(${expression})::text`;

/** Quoted and qualified name of a collation where it is not the type's. */
export const otherCollation = (collation: string, ofType: string): string =>
  `case when ${collation} <> ${ofType} then (select format('%I.%I', cn.nspname, cl.collname) from pg_collation cl
     join pg_namespace cn on cn.oid = cl.collnamespace where cl.oid = ${collation}) end`;

/** Generic options of foreign data as OPTIONS (…) takes them. */
export const genericOptions = (column: string): string =>
  `array_to_string(array(select quote_ident(option_name) || ' ' || quote_literal(option_value)
     from pg_options_to_table(${column}) order by option_name), E',\\n    ')`;

/** Extensions that the row of `alias` was said to depend on. */
export const dependsOnExtensions = (alias: string): string =>
  json(`array(select x.extname from pg_depend said join pg_extension x on said.refclassid = x.tableoid and said.refobjid = x.oid
     where said.classid = ${alias}.tableoid and said.objid = ${alias}.oid and said.deptype = 'x' order by 1)::text[]`);
