import type { PlainObject } from '../model';
import { flag, list, type SchemaQuery, type SchemaRow, text } from '../schema-query';
import { quoteBody, quoteName, quoteText } from '../write/quoting';
import { dependsOnExtensions, identity, json, notMember, ownerName, USER_SCHEMA } from './catalog-sql';
import { plainObject } from './plain';

const SIGNATURE = `array_to_string(array(select format_type(a.type, null) from unnest(p.proargtypes) with ordinality a (type, place) order by place), ', ')`;

const TIES =
  json(`array[lpad(p.pronargs::text, 5, '0')] || array(select x.name from unnest(p.proargtypes) with ordinality a (type, place)
  join pg_type t on t.oid = a.type join pg_namespace tn on tn.oid = t.typnamespace, lateral (values (1, tn.nspname::text), (2, t.typname::text)) x (n, name)
  order by a.place, x.n)`);

const IDENTITY = `${identity('p')} id, n.nspname schema, p.proname name, ${ownerName('p.proowner')} owner, ${SIGNATURE} signature,
  ${json('p.proacl::text[]')} items, ${json(`acldefault('f', p.proowner)::text[]`)} base, ${TIES} ties,
  format('%I.%I', n.nspname, p.proname) qualified_name, quote_ident(p.proname) quoted_name,
  pg_get_function_arguments(p.oid) arguments, pg_get_function_identity_arguments(p.oid) identity_arguments, p.proparallel parallel`;

const FUNCTIONS = `
  select ${IDENTITY}, p.prokind kind, p.prosrc source, p.probin binary, pg_get_function_sqlbody(p.oid) body, p.provolatile volatile,
    p.proisstrict strict, p.prosecdef definer, p.proleakproof leakproof, ${json('p.proconfig')} settings, p.procost cost, p.prorows rows,
    p.proretset set, pg_get_function_result(p.oid) result, l.lanname language, quote_ident(l.lanname) quoted_language,
    nullif(p.prosupport::text, '-') support,
    array_to_string(array(select format_type(x, null) from unnest(p.protrftypes) x), ', FOR TYPE ') transforms,
    ${dependsOnExtensions('p')} extensions
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
  where p.prokind <> 'a' and ${USER_SCHEMA} and ${notMember('p')}
    and not exists (select from pg_depend i where i.classid = p.tableoid and i.objid = p.oid and i.deptype = 'i')`;

const AGGREGATES = `
  select ${IDENTITY}, a.aggkind kind, a.aggtransfn::text transition, format_type(a.aggtranstype, null) state, a.aggtransspace space,
    a.agginitval initial, nullif(a.aggfinalfn::text, '-') final, a.aggfinalextra final_extra, a.aggfinalmodify final_modify,
    nullif(a.aggcombinefn::text, '-') combine, nullif(a.aggserialfn::text, '-') serial, nullif(a.aggdeserialfn::text, '-') deserial,
    nullif(a.aggmtransfn::text, '-') moving, a.aggminvtransfn::text inverse, format_type(a.aggmtranstype, null) moving_state,
    a.aggmtransspace moving_space, a.aggminitval moving_initial, nullif(a.aggmfinalfn::text, '-') moving_final,
    a.aggmfinalextra moving_extra, a.aggmfinalmodify moving_modify,
    (select format('OPERATOR(%I.%s)', opn.nspname, o.oprname) from pg_operator o join pg_namespace opn on opn.oid = o.oprnamespace
      where o.oid = a.aggsortop) sort
  from pg_aggregate a join pg_proc p on p.oid = a.aggfnoid join pg_namespace n on n.oid = p.pronamespace
  where ${USER_SCHEMA} and ${notMember('p')}`;

const VOLATILITY: Readonly<Record<string, string>> = { i: ' IMMUTABLE', s: ' STABLE' };
const PARALLEL: Readonly<Record<string, string>> = { s: 'SAFE', r: 'RESTRICTED' };
const MODIFY: Readonly<Record<string, string>> = { r: 'READ_ONLY', s: 'SHAREABLE', w: 'READ_WRITE' };
/** Settings whose values are lists of names, kept quoted as names. */
const NAME_LISTS = new Set([
  'local_preload_libraries',
  'search_path',
  'session_preload_libraries',
  'shared_preload_libraries',
  'temp_tablespaces',
  'unix_socket_directories',
]);

/** Functions, procedures and aggregates. */
export async function readRoutines(
  query: SchemaQuery,
  keywords: ReadonlySet<string>,
): Promise<PlainObject[]> {
  const functions = (await query(FUNCTIONS)).map((row) => functionOf(row, keywords));
  return [...functions, ...(await query(AGGREGATES)).map(aggregate)];
}

function functionOf(row: SchemaRow, keywords: ReadonlySet<string>): PlainObject {
  const type = row['kind'] === 'p' ? 'PROCEDURE' : 'FUNCTION';
  const named = `${text(row, 'quoted_name')}(${text(row, 'identity_arguments')})`;
  const qualified = `${text(row, 'qualified_name')}(${text(row, 'identity_arguments')})`;
  const extensions = list(row, 'extensions').map(
    (name) => `\nALTER ${type} ${qualified} DEPENDS ON EXTENSION ${quoteName(name, keywords)};`,
  );
  const sql = [
    `CREATE ${type} ${text(row, 'qualified_name')}(${text(row, 'arguments')})`,
    type === 'FUNCTION' ? ` RETURNS ${text(row, 'result')}` : '',
    `\n    LANGUAGE ${text(row, 'quoted_language')}`,
    row['transforms'] ? ` TRANSFORM FOR TYPE ${row['transforms']}` : '',
    row['kind'] === 'w' ? ' WINDOW' : '',
    ...properties(row),
    ...list(row, 'settings').map((setting) => `\n    SET ${settingOf(setting, keywords)}`),
    `\n    ${bodyOf(row)};\n`,
    ...extensions,
  ].join('');
  return plainObject(
    { ...row, sql, quoted: named, tag: `${text(row, 'name')}(${text(row, 'signature')})`, qualified },
    { kind: 'function', type, grantsOn: type, owned: true },
  );
}

function properties(row: SchemaRow): string[] {
  const cheap = row['language'] === 'internal' || row['language'] === 'c';
  const rows = text(row, 'rows');
  return [
    VOLATILITY[text(row, 'volatile')] ?? '',
    flag(row, 'strict') ? ' STRICT' : '',
    flag(row, 'definer') ? ' SECURITY DEFINER' : '',
    flag(row, 'leakproof') ? ' LEAKPROOF' : '',
    row['cost'] !== '0' && row['cost'] !== (cheap ? '1' : '100') ? ` COST ${row['cost']}` : '',
    flag(row, 'set') && rows !== '0' && rows !== '1000' ? ` ROWS ${rows}` : '',
    row['support'] ? ` SUPPORT ${row['support']}` : '',
    row['parallel'] !== 'u' ? ` PARALLEL ${PARALLEL[text(row, 'parallel')]}` : '',
  ];
}

function settingOf(setting: string, keywords: ReadonlySet<string>): string {
  const at = setting.indexOf('=');
  const name = setting.slice(0, at);
  const value = setting.slice(at + 1);
  const texts = NAME_LISTS.has(name) ? namesIn(value) : [value];
  return `${quoteName(name, keywords)} TO ${texts.map(quoteText).join(', ')}`;
}

/** Elements of a list of names; those in double quotes are taken as they are. */
function namesIn(value: string): string[] {
  return [...value.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^,]*?))\s*(?:,|$)/g)]
    .filter(([whole], i) => whole !== '' || i === 0)
    .map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '');
}

function bodyOf(row: SchemaRow): string {
  if (row['body']) return row['body'];
  const source = text(row, 'source');
  if (!row['binary']) return `AS ${quoteBody(source)}`;
  const symbol = /['\\]/.test(source) ? quoteBody(source) : quoteText(source);
  return `AS ${quoteText(row['binary'])}${source ? `, ${symbol}` : ''}`;
}

function aggregate(row: SchemaRow): PlainObject {
  const anyRow = row['signature'] === '';
  const named = `${text(row, 'quoted_name')}(${anyRow ? '*' : text(row, 'identity_arguments')})`;
  const qualified = `${text(row, 'qualified_name')}(${anyRow ? '*' : text(row, 'identity_arguments')})`;
  const usual = row['kind'] === 'n' ? 'r' : 'w';
  const final = (name: string, prefix: string, extra: string, modify: string): string[] =>
    row[name]
      ? [
          `${prefix}FINALFUNC = ${row[name]}`,
          ...(flag(row, extra) ? [`${prefix}FINALFUNC_EXTRA`] : []),
          ...(row[modify] !== usual ? [`${prefix}FINALFUNC_MODIFY = ${MODIFY[text(row, modify)]}`] : []),
        ]
      : [];
  const given = (name: string, word: string, as: (value: string) => string = String): string[] =>
    row[name] !== null && row[name] !== undefined ? [`${word} = ${as(row[name])}`] : [];
  const details = [
    `SFUNC = ${row['transition']}`,
    `STYPE = ${row['state']}`,
    ...(row['space'] !== '0' ? given('space', 'SSPACE') : []),
    ...given('initial', 'INITCOND', quoteText),
    ...final('final', '', 'final_extra', 'final_modify'),
    ...given('combine', 'COMBINEFUNC'),
    ...given('serial', 'SERIALFUNC'),
    ...given('deserial', 'DESERIALFUNC'),
    ...(row['moving']
      ? [`MSFUNC = ${row['moving']}`, `MINVFUNC = ${row['inverse']}`, `MSTYPE = ${row['moving_state']}`]
      : []),
    ...(row['moving_space'] !== '0' ? given('moving_space', 'MSSPACE') : []),
    ...given('moving_initial', 'MINITCOND', quoteText),
    ...final('moving_final', 'M', 'moving_extra', 'moving_modify'),
    ...given('sort', 'SORTOP'),
    ...(row['kind'] === 'h' ? ['HYPOTHETICAL'] : []),
    ...(row['parallel'] !== 'u' ? [`PARALLEL = ${PARALLEL[text(row, 'parallel')]!.toLowerCase()}`] : []),
  ];
  const sql = `CREATE AGGREGATE ${text(row, 'qualified_name')}(${anyRow ? '*' : text(row, 'arguments')}) (\n    ${details.join(',\n    ')}\n);\n`;
  return plainObject(
    {
      ...row,
      sql,
      quoted: named,
      tag: `${text(row, 'name')}(${anyRow ? '*' : text(row, 'signature')})`,
      qualified,
      // GRANT knows aggregates as functions.
      called: `${text(row, 'quoted_name')}(${text(row, 'signature')})`,
    },
    { kind: 'aggregate', type: 'AGGREGATE', grantsOn: 'FUNCTION', owned: true },
  );
}
