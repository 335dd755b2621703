/**
 * Everything that a user can read of a database, in a comparable form: definitions, rows, sequences, roles. PostgreSQL
 * logs a sequence up to 32 values ahead (SEQ_LOG_VALS, src/backend/commands/sequence.c): what starts from the log may go on
 * up to so many values later, never earlier. So sequences are compared apart, by that rule.
 */
import type { Client } from 'pg';
import { withClient } from './stack';

const USER_SCHEMAS = `n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and n.nspname not like 'pg_temp%' and n.nspname not like 'pg_toast_temp%'`;

const DEFINITIONS: Readonly<Record<string, string>> = {
  relations: `select c.oid::regclass::text as name, c.relkind, c.relpersistence, c.reloptions::text, c.relowner::regrole::text, c.relacl::text
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where ${USER_SCHEMAS} and c.relkind <> 't' order by 1, 2`,
  columns: `select a.attrelid::regclass::text as name, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull, a.attstorage,
      pg_get_expr(d.adbin, d.adrelid) as default from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum where ${USER_SCHEMAS} and a.attnum > 0 and c.relkind <> 't' order by 1, 2`,
  indexes: `select pg_get_indexdef(i.indexrelid) as def, i.indisvalid from pg_index i join pg_class c on c.oid = i.indrelid
    join pg_namespace n on n.oid = c.relnamespace where ${USER_SCHEMAS} order by 1`,
  constraints: `select conrelid::regclass::text as name, conname, pg_get_constraintdef(k.oid) as def from pg_constraint k join pg_namespace n on n.oid = k.connamespace where ${USER_SCHEMAS} order by 1, 2`,
  views: `select c.oid::regclass::text as name, pg_get_viewdef(c.oid) as def from pg_class c join pg_namespace n on n.oid = c.relnamespace where ${USER_SCHEMAS} and c.relkind in ('v', 'm') order by 1`,
  functions: `select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as def from pg_proc p join pg_namespace n on n.oid = p.pronamespace where ${USER_SCHEMAS} and p.prokind in ('f', 'p') order by 1`,
  triggers: `select pg_get_triggerdef(t.oid) as def from pg_trigger t where not t.tgisinternal order by 1`,
  enums: `select t.typname, e.enumlabel from pg_enum e join pg_type t on t.oid = e.enumtypid order by 1, e.enumsortorder`,
  extensions: `select extname, extversion from pg_extension order by 1`,
  roles: `select rolname, rolsuper, rolcreatedb, rolcanlogin from pg_roles where rolname not like 'pg\\_%' order by 1`,
  databases: `select datname, pg_get_userbyid(datdba) as owner from pg_database order by 1`,
};

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

const SEQ_LOG_VALS = 32n;

interface SequencePosition {
  readonly value: bigint;
  readonly increment: bigint;
}

/** A database as read; `sequences` by name. */
export interface Fingerprint {
  readonly parts: Record<string, unknown>;
  readonly sequences: ReadonlyMap<string, SequencePosition>;
}

/** Sequences of `later` that are behind `earlier` or too far ahead, as text; empty when it may be what `earlier` became. */
export function sequenceFaults(later: Fingerprint, earlier: Fingerprint): string[] {
  const names = new Set([...later.sequences.keys(), ...earlier.sequences.keys()]);
  return [...names].flatMap((name) => {
    const a = later.sequences.get(name);
    const b = earlier.sequences.get(name);
    const ahead = a && b ? (a.value - b.value) / b.increment : -1n;
    return ahead >= 0n && ahead <= SEQ_LOG_VALS ? [] : [`${name}: ${a?.value} after ${b?.value}`];
  });
}

async function sequencesOf(client: Client): Promise<Map<string, SequencePosition>> {
  const { rows } = await client.query<{ name: string; value: string | null; increment: string }>(
    "select schemaname || '.' || sequencename as name, coalesce(last_value, start_value - increment_by)::text as value, increment_by::text as increment from pg_sequences",
  );
  return new Map(rows.map((r) => [r.name, { value: BigInt(r.value ?? 0), increment: BigInt(r.increment) }]));
}

async function rowsOf(client: Client): Promise<Record<string, unknown>> {
  const { rows: tables } = await client.query<{ schema: string; name: string }>(
    `select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where ${USER_SCHEMAS} and c.relkind in ('r', 'p', 'm') order by 1, 2`,
  );
  const found: Record<string, unknown> = {};
  for (const { schema, name } of tables) {
    const table = `${quote(schema)}.${quote(name)}`;
    const query = `select count(*), md5(coalesce(string_agg(h, '' order by h), '')) from (select md5(t::text) as h from ${table} t) s`;
    found[table] = (await client.query(query)).rows[0];
  }
  return found;
}

export async function fingerprint(uri: string): Promise<Fingerprint> {
  return withClient(uri, async (client) => {
    await client.query("set timezone to 'UTC'");
    await client.query('begin isolation level repeatable read');
    const parts: Record<string, unknown> = { rows: await rowsOf(client) };
    for (const [name, query] of Object.entries(DEFINITIONS)) parts[name] = (await client.query(query)).rows;
    const sequences = await sequencesOf(client);
    await client.query('commit');
    return { parts, sequences };
  });
}
