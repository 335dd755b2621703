import { SCHEMA_LIMITS, type SchemaLimits, schemaTooLarge, type SchemaQuery, text } from '../schema-query';
import { USER_SCHEMA } from './catalog-sql';

/** Settings that deparsed texts depend on, as pg_dump has them. */
const SETTINGS: readonly (readonly [string, string])[] = [
  ['search_path', ''],
  ['DateStyle', 'ISO'],
  ['IntervalStyle', 'postgres'],
  ['extra_float_digits', '3'],
  ['quote_all_identifiers', 'off'],
  ['row_security', 'off'],
];

const SIZE = `
  select (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where ${USER_SCHEMA}) relations,
    (select count(*) from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
      where ${USER_SCHEMA} and a.attnum > 0) columns,
    (select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace where ${USER_SCHEMA}) functions,
    (select coalesce(sum(octet_length(p.prosrc)), 0) from pg_proc p join pg_namespace n on n.oid = p.pronamespace where ${USER_SCHEMA})
      + (select coalesce(sum(octet_length(r.ev_action::text)), 0) / 8 from pg_rewrite r join pg_class c on c.oid = r.ev_class
          join pg_namespace n on n.oid = c.relnamespace where ${USER_SCHEMA})
      + (select coalesce(sum(octet_length(description)), 0) from pg_description where objoid >= 16384) bytes`;

/** Makes the session write names and constants as they must be written to be read elsewhere. */
export async function prepareSession(query: SchemaQuery): Promise<void> {
  const calls = SETTINGS.map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', false)`);
  await query(`select ${calls.join(', ')}`);
}

/** Refuses a schema that is larger than the limits, before any of it is read. */
export async function checkSize(query: SchemaQuery, limits: SchemaLimits = SCHEMA_LIMITS): Promise<void> {
  const [row] = await query(SIZE);
  const check = (name: string, what: string, limit: number): void => {
    const is = Number(text(row ?? {}, name));
    if (is > limit) throw schemaTooLarge(what, is, limit);
  };
  check('relations', 'relations', limits.relations);
  check('columns', 'columns', limits.columns);
  check('functions', 'functions', limits.functions);
  check('bytes', 'bytes of definitions', limits.catalogBytes);
}
