import { identity, json, notMember, ownerName, USER_SCHEMA } from './catalog-sql';
import type { SeldomQuery } from './seldom';

const FIRST_USER_OID = 16384;

const literal = (expression: string): string => `'''' || replace(${expression}, '''', '''''') || ''''`;

/** Name of a function without its arguments; null for none. */
const functionName = (column: string): string =>
  `nullif(regexp_replace(${column}::regprocedure::text, '^((?:"(?:[^"]|"")*"|[^"(])*)\\(.*$', '\\1'), '-')`;

const operatorName = (column: string): string =>
  `(select format('OPERATOR(%I.%s)', xn.nspname, x.oprname) from pg_operator x join pg_namespace xn on xn.oid = x.oprnamespace where x.oid = ${column})`;

const part = (word: string, value: string): string => `coalesce(E',\\n    ${word} = ' || ${value}, '')`;

const OPERATOR_ID = `format('%s (%s, %s)', o.oprname, case when o.oprleft = 0 then 'NONE' else format_type(o.oprleft, null) end, format_type(o.oprright, null))`;

const OPERATORS = `
  select ${identity('o')} id, n.nspname schema, o.oprname name, ${OPERATOR_ID} quoted, format('%I.', n.nspname) || ${OPERATOR_ID} qualified,
    ${ownerName('o.oprowner')} owner, ${json(`array[case o.oprkind when 'b' then '2' else '1' end, coalesce(lt.nspname, ''), coalesce(lt.typname, ''), rt.nspname, rt.typname]::text[]`)} ties,
    format(E'CREATE OPERATOR %I.%s (\\n    FUNCTION = %s', n.nspname, o.oprname, ${functionName('o.oprcode')})
      || case when o.oprleft = 0 then '' else E',\\n    LEFTARG = ' || format_type(o.oprleft, null) end
      || E',\\n    RIGHTARG = ' || format_type(o.oprright, null)
      || ${part('COMMUTATOR', operatorName('o.oprcom'))} || ${part('NEGATOR', operatorName('o.oprnegate'))}
      || case when o.oprcanmerge then E',\\n    MERGES' else '' end || case when o.oprcanhash then E',\\n    HASHES' else '' end
      || ${part('RESTRICT', functionName('o.oprrest'))} || ${part('JOIN', functionName('o.oprjoin'))} || E'\\n);\\n' sql
  from pg_operator o join pg_namespace n on n.oid = o.oprnamespace
    left join (select t.oid, t.typname, tn.nspname from pg_type t join pg_namespace tn on tn.oid = t.typnamespace) lt on lt.oid = o.oprleft
    join (select t.oid, t.typname, tn.nspname from pg_type t join pg_namespace tn on tn.oid = t.typnamespace) rt on rt.oid = o.oprright
  where o.oprcode <> 0 and ${USER_SCHEMA} and ${notMember('o')}`;

/** Operators and functions of a family that belong to `owner` (a class, or the family itself). */
const members = (ownerCatalog: string, owner: string, family: string): string => `array_to_string(array(
    select format('OPERATOR %s %s', m.amopstrategy, m.amopopr::regoperator) || coalesce((select format(' FOR ORDER BY %I.%I', sn.nspname, s.opfname)
      from pg_opfamily s join pg_namespace sn on sn.oid = s.opfnamespace where s.oid = m.amopsortfamily), '')
    from pg_amop m join pg_depend d on d.classid = 'pg_amop'::regclass and d.objid = m.oid
    where d.refclassid = '${ownerCatalog}'::regclass and d.refobjid = ${owner} and m.amopfamily = ${family} order by m.amopstrategy)
  || array(
    select format('FUNCTION %s (%s, %s) %s', m.amprocnum, format_type(m.amproclefttype, null), format_type(m.amprocrighttype, null), m.amproc::regprocedure)
    from pg_amproc m join pg_depend d on d.classid = 'pg_amproc'::regclass and d.objid = m.oid
    where d.refclassid = '${ownerCatalog}'::regclass and d.refobjid = ${owner} order by m.amprocnum), E' ,\\n    ')`;

const CLASSES = `
  select ${identity('k')} id, n.nspname schema, k.opcname name, format('%I USING %I', k.opcname, am.amname) quoted,
    format('%I.%I USING %I', n.nspname, k.opcname, am.amname) qualified, ${ownerName('k.opcowner')} owner, ${json(`array['1', am.amname]::text[]`)} ties,
    format(E'CREATE OPERATOR CLASS %I.%I\\n    %sFOR TYPE %s USING %I', n.nspname, k.opcname, case when k.opcdefault then 'DEFAULT ' else '' end,
      format_type(k.opcintype, null), am.amname)
      || format(E' FAMILY %I.%I AS\\n    ', famn.nspname, fam.opfname)
      || coalesce(nullif(concat_ws(E' ,\\n    ', case when k.opckeytype <> 0 then 'STORAGE ' || format_type(k.opckeytype, null) end,
        nullif(${members('pg_opclass', 'k.oid', 'k.opcfamily')}, '')), ''), 'STORAGE ' || format_type(k.opcintype, null)) || E';\\n' sql
  from pg_opclass k join pg_namespace n on n.oid = k.opcnamespace join pg_am am on am.oid = k.opcmethod
    join pg_opfamily fam on fam.oid = k.opcfamily join pg_namespace famn on famn.oid = fam.opfnamespace
  where ${USER_SCHEMA} and ${notMember('k')}`;

const FAMILIES = `
  select ${identity('f')} id, n.nspname schema, f.opfname name, format('%I USING %I', f.opfname, am.amname) quoted,
    format('%I.%I USING %I', n.nspname, f.opfname, am.amname) qualified, ${ownerName('f.opfowner')} owner, ${json(`array['2', am.amname]::text[]`)} ties,
    format(E'CREATE OPERATOR FAMILY %I.%I USING %I;\\n', n.nspname, f.opfname, am.amname)
      || coalesce(format(E'ALTER OPERATOR FAMILY %I.%I USING %I ADD\\n    ', n.nspname, f.opfname, am.amname)
        || nullif(${members('pg_opfamily', 'f.oid', 'f.oid')}, '') || E';\\n', '') sql
  from pg_opfamily f join pg_namespace n on n.oid = f.opfnamespace join pg_am am on am.oid = f.opfmethod
  where ${USER_SCHEMA} and ${notMember('f')}`;

const CAST = `format('(%s AS %s)', format_type(c.castsource, null), format_type(c.casttarget, null))`;

const signature = (column: string): string =>
  `(select format('%I.%I(%s)', fn.nspname, f.proname, array_to_string(array(select format_type(a.type, null) from unnest(f.proargtypes)
    with ordinality a (type, place) order by place), ', ')) from pg_proc f join pg_namespace fn on fn.oid = f.pronamespace where f.oid = ${column})`;

const CASTS = `
  select ${identity('c')} id, null schema, (select typname from pg_type where oid = c.castsource) || ' ' || (select typname from pg_type where oid = c.casttarget) name,
    ${CAST} quoted, 'CAST ' || ${CAST} tag,
    format('CREATE CAST %s ', ${CAST}) || case c.castmethod when 'b' then 'WITHOUT FUNCTION' when 'i' then 'WITH INOUT'
        else 'WITH FUNCTION ' || ${signature('c.castfunc')} end
      || case c.castcontext when 'a' then ' AS ASSIGNMENT' when 'i' then ' AS IMPLICIT' else '' end || E';\\n' sql
  from pg_cast c where c.oid >= ${FIRST_USER_OID} and ${notMember('c')}
    and not exists (select from pg_range r where r.rngtypid = c.castsource and r.rngmultitypid = c.casttarget)`;

const TRANSFORM = `format('FOR %s LANGUAGE %I', format_type(t.trftype, null), l.lanname)`;

const TRANSFORMS = `
  select ${identity('t')} id, null schema, (select typname from pg_type where oid = t.trftype) || ' ' || l.lanname name, ${TRANSFORM} quoted,
    'TRANSFORM ' || ${TRANSFORM} tag,
    format('CREATE TRANSFORM %s (', ${TRANSFORM}) || concat_ws(', ', 'FROM SQL WITH FUNCTION ' || ${signature('t.trffromsql')},
      'TO SQL WITH FUNCTION ' || ${signature('t.trftosql')}) || E');\\n' sql
  from pg_transform t join pg_language l on l.oid = t.trflang where t.oid >= ${FIRST_USER_OID} and ${notMember('t')}`;

const LANGUAGES = `
  select ${identity('l')} id, null schema, l.lanname name, quote_ident(l.lanname) quoted, ${ownerName('l.lanowner')} owner,
    case when l.lanpltrusted then ${json('l.lanacl::text[]')} end items, ${json(`acldefault('l', l.lanowner)::text[]`)} base,
    format('CREATE %sPROCEDURAL LANGUAGE %I HANDLER %s', case when l.lanpltrusted then 'TRUSTED ' else '' end, l.lanname, ${functionName('l.lanplcallfoid')})
      || coalesce(' INLINE ' || ${functionName('l.laninline')}, '') || coalesce(' VALIDATOR ' || ${functionName('l.lanvalidator')}, '') || E';\\n' sql
  from pg_language l where l.lanispl and l.oid >= ${FIRST_USER_OID} and ${notMember('l')}`;

const METHODS = `
  select ${identity('a')} id, null schema, a.amname name, quote_ident(a.amname) quoted,
    format(E'CREATE ACCESS METHOD %I TYPE %s HANDLER %s;\\n', a.amname, case a.amtype when 'i' then 'INDEX' else 'TABLE' end, a.amhandler) sql
  from pg_am a where a.oid >= ${FIRST_USER_OID} and ${notMember('a')}`;

const COLLATIONS = `
  select ${identity('c')} id, n.nspname schema, c.collname name, quote_ident(c.collname) quoted, format('%I.%I', n.nspname, c.collname) qualified,
    ${ownerName('c.collowner')} owner,
    format('CREATE COLLATION %I.%I (provider = %s', n.nspname, c.collname, case c.collprovider when 'b' then 'builtin' when 'c' then 'libc' when 'i' then 'icu' else 'default' end)
      || case when c.collisdeterministic then '' else ', deterministic = false' end
      || case when c.collprovider in ('b', 'i') then ', locale = ' || ${literal(`coalesce(c.colllocale, '')`)}
        when c.collprovider = 'c' and c.collcollate = c.collctype then ', locale = ' || ${literal('c.collcollate')}
        when c.collprovider = 'c' then ', lc_collate = ' || ${literal('c.collcollate')} || ', lc_ctype = ' || ${literal('c.collctype')} else '' end
      || coalesce(', rules = ' || ${literal('c.collicurules')}, '') || E');\\n' sql
  from pg_collation c join pg_namespace n on n.oid = c.collnamespace where ${USER_SCHEMA} and ${notMember('c')}`;

const CONVERSIONS = `
  select ${identity('c')} id, n.nspname schema, c.conname name, quote_ident(c.conname) quoted, format('%I.%I', n.nspname, c.conname) qualified,
    ${ownerName('c.conowner')} owner,
    format(E'CREATE %sCONVERSION %I.%I FOR %L TO %L FROM %s;\\n', case when c.condefault then 'DEFAULT ' else '' end, n.nspname, c.conname,
      pg_encoding_to_char(c.conforencoding), pg_encoding_to_char(c.contoencoding), c.conproc) sql
  from pg_conversion c join pg_namespace n on n.oid = c.connamespace where ${USER_SCHEMA} and ${notMember('c')}`;

/** What programs PostgreSQL itself: operators and their classes, casts, languages, access methods, collations, conversions. */
export const CODE_QUERIES: readonly SeldomQuery[] = [
  { kind: 'operator', type: 'OPERATOR', owned: true, sql: OPERATORS },
  { kind: 'operator-family', type: 'OPERATOR CLASS', owned: true, sql: CLASSES },
  { kind: 'operator-family', type: 'OPERATOR FAMILY', owned: true, sql: FAMILIES },
  { kind: 'cast', type: 'CAST', owned: false, sql: CASTS },
  { kind: 'transform', type: 'TRANSFORM', owned: false, sql: TRANSFORMS },
  { kind: 'language', type: 'PROCEDURAL LANGUAGE', grantsOn: 'LANGUAGE', owned: true, sql: LANGUAGES },
  { kind: 'access-method', type: 'ACCESS METHOD', owned: false, sql: METHODS },
  { kind: 'collation', type: 'COLLATION', owned: true, sql: COLLATIONS },
  { kind: 'conversion', type: 'CONVERSION', owned: true, sql: CONVERSIONS },
];
