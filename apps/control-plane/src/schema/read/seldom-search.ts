import { identity, notMember, ownerName, USER_SCHEMA } from './catalog-sql';
import type { SeldomQuery } from './seldom';

const named = (alias: string, name: string): string =>
  `${identity(alias)} id, n.nspname schema, ${alias}.${name} name, quote_ident(${alias}.${name}) quoted, format('%I.%I', n.nspname, ${alias}.${name}) qualified`;

const PARSERS = `
  select ${named('p', 'prsname')},
    format(E'CREATE TEXT SEARCH PARSER %I.%I (\\n    START = %s,\\n    GETTOKEN = %s,\\n    END = %s,\\n', n.nspname, p.prsname, p.prsstart, p.prstoken, p.prsend)
      || case when p.prsheadline <> 0 then format(E'    HEADLINE = %s,\\n', p.prsheadline) else '' end
      || format(E'    LEXTYPES = %s );\\n', p.prslextype) sql
  from pg_ts_parser p join pg_namespace n on n.oid = p.prsnamespace where ${USER_SCHEMA} and ${notMember('p')}`;

const TEMPLATES = `
  select ${named('t', 'tmplname')},
    format(E'CREATE TEXT SEARCH TEMPLATE %I.%I (\\n', n.nspname, t.tmplname)
      || case when t.tmplinit <> 0 then format(E'    INIT = %s,\\n', t.tmplinit) else '' end || format(E'    LEXIZE = %s );\\n', t.tmpllexize) sql
  from pg_ts_template t join pg_namespace n on n.oid = t.tmplnamespace where ${USER_SCHEMA} and ${notMember('t')}`;

const DICTIONARIES = `
  select ${named('d', 'dictname')}, ${ownerName('d.dictowner')} owner,
    format(E'CREATE TEXT SEARCH DICTIONARY %I.%I (\\n    TEMPLATE = %I.%I', n.nspname, d.dictname, tn.nspname, t.tmplname)
      || coalesce(E',\\n    ' || d.dictinitoption, '') || E' );\\n' sql
  from pg_ts_dict d join pg_namespace n on n.oid = d.dictnamespace join pg_ts_template t on t.oid = d.dicttemplate
    join pg_namespace tn on tn.oid = t.tmplnamespace
  where ${USER_SCHEMA} and ${notMember('d')}`;

const CONFIGURATIONS = `
  select ${named('c', 'cfgname')}, ${ownerName('c.cfgowner')} owner,
    format(E'CREATE TEXT SEARCH CONFIGURATION %I.%I (\\n    PARSER = %I.%I );\\n', n.nspname, c.cfgname, pn.nspname, p.prsname)
      || coalesce((select string_agg(format(E'\\nALTER TEXT SEARCH CONFIGURATION %I.%I\\n    ADD MAPPING FOR %I WITH %s;\\n', n.nspname, c.cfgname,
          (select k.alias from ts_token_type(c.cfgparser) k where k.tokid = m.maptokentype), m.dictionaries), '' order by m.maptokentype)
        from (select maptokentype, string_agg(mapdict::regdictionary::text, ', ' order by mapseqno) dictionaries
          from pg_ts_config_map where mapcfg = c.oid group by maptokentype) m), '') sql
  from pg_ts_config c join pg_namespace n on n.oid = c.cfgnamespace join pg_ts_parser p on p.oid = c.cfgparser
    join pg_namespace pn on pn.oid = p.prsnamespace
  where ${USER_SCHEMA} and ${notMember('c')}`;

/** Text search. */
export const SEARCH_QUERIES: readonly SeldomQuery[] = [
  { kind: 'search-parser', type: 'TEXT SEARCH PARSER', owned: false, sql: PARSERS },
  { kind: 'search-template', type: 'TEXT SEARCH TEMPLATE', owned: false, sql: TEMPLATES },
  { kind: 'search-dictionary', type: 'TEXT SEARCH DICTIONARY', owned: true, sql: DICTIONARIES },
  { kind: 'search-configuration', type: 'TEXT SEARCH CONFIGURATION', owned: true, sql: CONFIGURATIONS },
];
