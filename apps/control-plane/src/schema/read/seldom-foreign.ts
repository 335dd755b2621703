import { genericOptions, identity, json, notMember, ownerName } from './catalog-sql';
import type { SeldomQuery } from './seldom';

const options = (column: string): string =>
  `coalesce(E' OPTIONS (\\n    ' || nullif(${genericOptions(column)}, '') || E'\\n)', '')`;

const literal = (expression: string): string => `'''' || replace(${expression}, '''', '''''') || ''''`;

const WRAPPERS = `
  select ${identity('w')} id, null schema, w.fdwname name, quote_ident(w.fdwname) quoted, ${ownerName('w.fdwowner')} owner,
    ${json('w.fdwacl::text[]')} items, ${json(`acldefault('F', w.fdwowner)::text[]`)} base,
    format('CREATE FOREIGN DATA WRAPPER %I', w.fdwname) || coalesce(' HANDLER ' || nullif(w.fdwhandler::regproc::text, '-'), '')
      || coalesce(' VALIDATOR ' || nullif(w.fdwvalidator::regproc::text, '-'), '') || ${options('w.fdwoptions')} || E';\\n' sql
  from pg_foreign_data_wrapper w where ${notMember('w')}`;

const SERVERS = `
  select ${identity('s')} id, null schema, s.srvname name, quote_ident(s.srvname) quoted, ${ownerName('s.srvowner')} owner,
    ${json('s.srvacl::text[]')} items, ${json(`acldefault('S', s.srvowner)::text[]`)} base,
    format('CREATE SERVER %I', s.srvname) || coalesce(' TYPE ' || ${literal('s.srvtype')}, '') || coalesce(' VERSION ' || ${literal('s.srvversion')}, '')
      || format(' FOREIGN DATA WRAPPER %I', w.fdwname) || ${options('s.srvoptions')} || E';\\n' sql
  from pg_foreign_server s join pg_foreign_data_wrapper w on w.oid = s.srvfdw where ${notMember('s')}`;

/** Their options hold passwords: the notes say that they are left out. */
const MAPPINGS = `
  select ${identity('m')} id, null schema, s.srvname name, '' quoted, ${ownerName('s.srvowner')} owner, ${json('array[u.usename]::text[]')} ties,
    format('USER MAPPING %s SERVER %s', u.usename, s.srvname) tag,
    format(E'CREATE USER MAPPING FOR %s SERVER %I;\\n', case when m.umuser = 0 then 'public' else quote_ident(u.usename) end, s.srvname) sql
  from pg_user_mapping m join pg_user_mappings u on u.umid = m.oid join pg_foreign_server s on s.oid = m.umserver
  where ${notMember('s')}`;

/** Foreign data wrappers, servers and who is whom there. */
export const FOREIGN_QUERIES: readonly SeldomQuery[] = [
  {
    kind: 'foreign-data-wrapper',
    type: 'FOREIGN DATA WRAPPER',
    grantsOn: 'FOREIGN DATA WRAPPER',
    owned: true,
    sql: WRAPPERS,
  },
  { kind: 'server', type: 'SERVER', grantsOn: 'FOREIGN SERVER', owned: true, sql: SERVERS },
  { kind: 'server', type: 'USER MAPPING', owned: false, sql: MAPPINGS },
];
