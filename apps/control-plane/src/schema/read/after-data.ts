import type { PlainObject, RuleObject, SchemaObject } from '../model';
import { list, type SchemaQuery, type SchemaRow, text } from '../schema-query';
import { quoteName } from '../write/quoting';
import { dependsOnExtensions, identity, json, notMember, ownerName, USER_SCHEMA } from './catalog-sql';
import { plainObject } from './plain';

/** What a table's own things share: its name tells them apart, its owner owns them, COMMENT … ON names it. */
const onTable = (word: string, name: string, alias: string): string => `
  ${identity(alias)} id, n.nspname schema, ${name} name, c.relname || ' ' || ${name} tag, ${json('array[c.relname]::text[]')} ties,
  ${ownerName('c.relowner')} owner, quote_ident(c.relname) quoted, format('${word} %I ON', ${name}) comment_on`;

const RULES = `
  select ${identity('r')} id, n.nspname schema, r.rulename name, ${identity('c')} "table", c.relname table_name, r.ev_enabled enabled,
    r.ev_type = '1' and r.is_instead and c.relkind in ('v', 'm') is_query,
    case when not (r.ev_type = '1' and r.is_instead) then pg_get_ruledef(r.oid) end definition
  from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
  where ${USER_SCHEMA} and ${notMember('c')}`;

const TRIGGERS = `
  select ${onTable('TRIGGER', 't.tgname', 't')}, ${dependsOnExtensions('t')} extensions,
    quote_ident(t.tgname) quoted_name, format('%I.%I', n.nspname, c.relname) "table", c.relkind = 'f' is_foreign,
    t.tgenabled enabled, t.tgparentid <> 0 inherited, pg_get_triggerdef(t.oid, false) definition
  from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
    left join pg_trigger u on u.oid = t.tgparentid
  where (not t.tgisinternal and t.tgparentid = 0 or t.tgenabled <> u.tgenabled) and ${USER_SCHEMA} and ${notMember('c')}
    and ${notMember('t')}`;

const POLICIES = `
  select ${onTable('POLICY', 'p.polname', 'p')},
    format('CREATE POLICY %I ON %I.%I', p.polname, n.nspname, c.relname)
      || case when p.polpermissive then '' else ' AS RESTRICTIVE' end
      || case p.polcmd when 'r' then ' FOR SELECT' when 'a' then ' FOR INSERT' when 'w' then ' FOR UPDATE' when 'd' then ' FOR DELETE' else '' end
      || case when p.polroles = '{0}' then '' else ' TO ' || array_to_string(array(select quote_ident(rolname) from pg_roles where oid = any (p.polroles)), ', ') end
      || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
      || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '') || E';\\n' sql
  from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
  where ${USER_SCHEMA} and ${notMember('c')}`;

const STATISTICS = `
  select ${identity('s')} id, n.nspname schema, s.stxname name, quote_ident(s.stxname) quoted, ${ownerName('s.stxowner')} owner,
    format('%I.%I', n.nspname, s.stxname) qualified,
    pg_get_statisticsobjdef(s.oid) || E';\\n'
      || case when s.stxstattarget >= 0 then format(E'ALTER STATISTICS %I.%I SET STATISTICS %s;\\n', n.nspname, s.stxname, s.stxstattarget) else '' end sql
  from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace where ${USER_SCHEMA} and ${notMember('s')}`;

const PUBLICATIONS = `
  select ${identity('p')} id, null schema, p.pubname name, quote_ident(p.pubname) quoted, ${ownerName('p.pubowner')} owner,
    format('CREATE PUBLICATION %I', p.pubname) || case when p.puballtables then ' FOR ALL TABLES' else '' end
      || format(' WITH (publish = ''%s''', array_to_string(array[case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
        case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end], ', '))
      || case when p.pubviaroot then ', publish_via_partition_root = true' else '' end || E');\\n' sql
  from pg_publication p where ${notMember('p')}`;

const PUBLISHED_TABLES = `
  select ${identity('r')} id, n.nspname schema, c.relname name, p.pubname || ' ' || c.relname tag, ${json('array[p.pubname]::text[]')} ties,
    '' quoted, ${ownerName('p.pubowner')} owner,
    format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I', p.pubname, n.nspname, c.relname)
      || coalesce((select ' (' || string_agg(quote_ident(a.attname), ', ' order by k.place) || ')' from unnest(r.prattrs::int2[]) with ordinality k (number, place)
        join pg_attribute a on a.attrelid = r.prrelid and a.attnum = k.number), '')
      || coalesce(' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')', '') || E';\\n' sql
  from pg_publication_rel r join pg_publication p on p.oid = r.prpubid join pg_class c on c.oid = r.prrelid
    join pg_namespace n on n.oid = c.relnamespace
  where ${USER_SCHEMA} and ${notMember('c')}`;

const PUBLISHED_SCHEMAS = `
  select ${identity('r')} id, n.nspname schema, n.nspname name, p.pubname || ' ' || n.nspname tag, ${json('array[p.pubname]::text[]')} ties,
    '' quoted, ${ownerName('p.pubowner')} owner, format(E'ALTER PUBLICATION %I ADD TABLES IN SCHEMA %I;\\n', p.pubname, n.nspname) sql
  from pg_publication_namespace r join pg_publication p on p.oid = r.pnpubid join pg_namespace n on n.oid = r.pnnspid
  where ${USER_SCHEMA}`;

const EVENT_TRIGGERS = `
  select ${identity('e')} id, null schema, e.evtname name, quote_ident(e.evtname) quoted, ${ownerName('e.evtowner')} owner,
    format('CREATE EVENT TRIGGER %I ON %I', e.evtname, e.evtevent)
      || coalesce(E'\\n         WHEN TAG IN (' || (select string_agg(quote_literal(t), ', ') from unnest(e.evttags) t) || ')', '')
      || format(E'\\n   EXECUTE FUNCTION %s();\\n', e.evtfoid::regproc)
      || case e.evtenabled when 'O' then '' else format(E'\\nALTER EVENT TRIGGER %I %s;\\n', e.evtname,
        case e.evtenabled when 'D' then 'DISABLE' when 'A' then 'ENABLE ALWAYS' when 'R' then 'ENABLE REPLICA' else 'ENABLE' end) end sql
  from pg_event_trigger e where ${notMember('e')}`;

const ENABLED: Readonly<Record<string, string>> = {
  D: 'DISABLE',
  O: 'ENABLE',
  R: 'ENABLE REPLICA',
  A: 'ENABLE ALWAYS',
};

/** Rules, triggers, policies, statistics, publications and event triggers. */
export async function readAfterData(
  query: SchemaQuery,
  keywords: ReadonlySet<string>,
): Promise<SchemaObject[]> {
  const rules = (await query(RULES)).map(rule);
  const triggers = (await query(TRIGGERS)).map((row) => trigger(row, keywords));
  const policies = (await query(POLICIES)).map((row) =>
    plainObject(row, { kind: 'policy', type: 'POLICY', commentOn: text(row, 'comment_on'), owned: false }),
  );
  const statistics = (await query(STATISTICS)).map((row) =>
    plainObject(row, { kind: 'statistics', type: 'STATISTICS', owned: true }),
  );
  const publications = (await query(PUBLICATIONS)).map((row) =>
    plainObject(row, { kind: 'publication', type: 'PUBLICATION', owned: true }),
  );
  const tables = (await query(PUBLISHED_TABLES)).map((row) =>
    plainObject(row, { kind: 'publication-table', type: 'PUBLICATION TABLE', owned: false }),
  );
  const schemas = (await query(PUBLISHED_SCHEMAS)).map((row) =>
    plainObject(row, { kind: 'publication-schema', type: 'PUBLICATION TABLES IN SCHEMA', owned: false }),
  );
  const events = (await query(EVENT_TRIGGERS)).map((row) =>
    plainObject(row, { kind: 'event-trigger', type: 'EVENT TRIGGER', owned: true }),
  );
  return [
    ...rules,
    ...triggers,
    ...policies,
    ...statistics,
    ...publications,
    ...tables,
    ...schemas,
    ...events,
  ];
}

function rule(row: SchemaRow): RuleObject {
  const isQuery = row['is_query'] === 't' || row['is_query'] === 'true';
  const enabled = text(row, 'enabled');
  return {
    form: 'rule',
    kind: 'rule',
    id: text(row, 'id'),
    schema: text(row, 'schema'),
    name: text(row, 'name'),
    ties: [text(row, 'table_name')],
    table: text(row, 'table'),
    isQuery,
    definition: isQuery ? '' : text(row, 'definition'),
    enabled: enabled === 'O' ? null : (ENABLED[enabled] ?? null),
  };
}

function trigger(row: SchemaRow, keywords: ReadonlySet<string>): PlainObject {
  const foreign = row['is_foreign'] === 't' || row['is_foreign'] === 'true' ? 'FOREIGN ' : '';
  const inherited = row['inherited'] === 't' || row['inherited'] === 'true';
  const enabled = text(row, 'enabled');
  const firing = `\nALTER ${foreign}TABLE ${text(row, 'table')} ${ENABLED[enabled]} TRIGGER ${text(row, 'quoted_name')};\n`;
  const extensions = list(row, 'extensions').map(
    (name) =>
      `\nALTER TRIGGER ${text(row, 'quoted_name')} ON ${text(row, 'table')} DEPENDS ON EXTENSION ${quoteName(name, keywords)};`,
  );
  // A partition has its trigger from its table: only that it fires otherwise is its own.
  const sql = inherited
    ? firing
    : `${text(row, 'definition')};\n${extensions.join('')}${enabled === 'O' ? '' : firing}`;
  return plainObject(
    { ...row, sql },
    { kind: 'trigger', type: 'TRIGGER', commentOn: text(row, 'comment_on'), owned: false },
  );
}
