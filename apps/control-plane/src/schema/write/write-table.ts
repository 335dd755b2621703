import type { Column, TableObject } from '../model';
import type { Node } from '../order/node';
import { columnComments, objectComment } from './comments';
import type { Entry, Names } from './entry';
import { grantStatements } from './grants';
import { storageParameters } from './quoting';

const TYPES: Readonly<Record<string, string>> = {
  r: 'TABLE',
  p: 'TABLE',
  f: 'FOREIGN TABLE',
  v: 'VIEW',
  m: 'MATERIALIZED VIEW',
};

/** CREATE TABLE, VIEW or MATERIALIZED VIEW with what only ALTER TABLE can say, comments and privileges. */
export function writeTable(node: Node, table: TableObject, names: Names): Entry[] {
  if (!table.written) return [];
  const type = TYPES[table.relation]!;
  const checks = inlineChecks(table, names);
  const stored = 'rmp'.includes(table.relation);
  return [
    {
      type,
      tag: table.name,
      schema: table.schema,
      owner: table.owner,
      sql:
        (table.relation === 'v' ? view(node, table, names) : create(table, type, names)) +
        alterations(table, names),
      ownerOf: `${type} ${names.of(table)}`,
      ...(stored ? { tablespace: table.tablespace ?? '' } : {}),
      ...('rm'.includes(table.relation) && table.accessMethod ? { accessMethod: table.accessMethod } : {}),
      ...(table.relation === 'p' && table.accessMethod
        ? {
            afterwards: `ALTER TABLE ${names.of(table)} SET ACCESS METHOD ${names.quote(table.accessMethod)};`,
          }
        : {}),
    },
    ...objectComment(names, { ...table, on: type, name: names.quote(table.name) }),
    ...columnComments(names, table, new Map(table.columns.map(({ number, name }) => [number, name]))),
    ...checks
      .filter(({ local }) => local)
      .flatMap((check) =>
        objectComment(names, {
          ...table,
          id: check.id,
          on: `CONSTRAINT ${names.quote(check.name)} ON`,
          name: names.quote(table.name),
        }),
      ),
    ...privileges(table, names),
  ];
}

/** The query of a view as it is written when circles of needs put it after the view. */
export function replaceView(table: TableObject, names: Names): string {
  return `CREATE OR REPLACE VIEW ${names.of(table)}${viewBody(table, names)}`;
}

function view(node: Node, table: TableObject, names: Names): string {
  if (!node.dummy) return `CREATE VIEW ${names.of(table)}${viewBody(table, names)}`;
  const columns = table.columns.map(
    ({ name, type, collation }) =>
      `\n    NULL::${type}${collation ? ` COLLATE ${collation}` : ''} AS ${names.quote(name)}`,
  );
  return `CREATE VIEW ${names.of(table)} AS\nSELECT${columns.join(',')};\n`;
}

function viewBody(table: TableObject, names: Names): string {
  const check = table.checkOption ? `\n  WITH ${table.checkOption} CHECK OPTION` : '';
  const options = storageParameters(table.options, names.keywords);
  return `${options.length > 0 ? ` WITH (${options.join(', ')})` : ''} AS\n${table.query}${check};\n`;
}

function create(table: TableObject, type: string, names: Names): string {
  const parents = table.parents.filter((id) => names.has(id)).map((id) => names.of(names.object(id)));
  const options = storageParameters(table.options, names.keywords);
  return [
    `CREATE ${table.unlogged ? 'UNLOGGED ' : ''}${type} ${names.of(table)}`,
    table.ofType ? ` OF ${table.ofType}` : '',
    table.relation === 'm' ? '' : elements(table, names),
    parents.length > 0 && !table.partition ? `\nINHERITS (${parents.join(', ')})` : '',
    table.partitionKey ? `\nPARTITION BY ${table.partitionKey}` : '',
    table.server ? `\nSERVER ${names.quote(table.server)}` : '',
    options.length > 0 ? `\nWITH (${options.join(', ')})` : '',
    table.serverOptions ? `\nOPTIONS (\n    ${table.serverOptions}\n)` : '',
    table.relation === 'm' ? ` AS\n${table.query}\n  WITH NO DATA` : '',
    ';\n',
    ...(table.relation === 'm'
      ? table.dependsOnExtensions.map(
          (name) => `\nALTER MATERIALIZED VIEW ${names.of(table)} DEPENDS ON EXTENSION ${names.quote(name)};`,
        )
      : []),
  ].join('');
}

function elements(table: TableObject, names: Names): string {
  const columns = table.columns
    .filter((column) => isPrinted(table, column))
    .flatMap((column) => {
      const clauses = columnClauses(table, column, names);
      if (table.ofType && clauses === '') return [];
      return [
        `\n    ${names.quote(column.name)}${table.ofType ? '' : ` ${column.type}`}${clauses}${collate(column)}`,
      ];
    });
  const checks = inlineChecks(table, names).map(
    ({ name, definition }) => `\n    CONSTRAINT ${names.quote(name)} ${definition}`,
  );
  const all = [...columns, ...checks];
  if (all.length > 0) return ` (${all.join(',')}\n)`;
  return table.ofType ? '' : ' (\n)';
}

function isPrinted(table: TableObject, column: Column): boolean {
  return column.local || table.partition;
}

function collate({ collation }: Column): string {
  return collation ? ` COLLATE ${collation}` : '';
}

function columnClauses(table: TableObject, column: Column, names: Names): string {
  const part = names
    .parts(table.id)
    .find(
      ({ object, separate }) => object.form === 'default' && object.column === column.number && !separate,
    );
  const written = part && !names.inherited.sameExpression.has(part.object.id);
  const expression = written && part.object.form === 'default' ? part.object.expression : undefined;
  const inherited = names.inherited.notNull.has(`${table.id}/${column.name}`);
  const value = column.generated ? ` GENERATED ALWAYS AS (${expression}) STORED` : ` DEFAULT ${expression}`;
  return (
    (expression === undefined ? '' : value) +
    (column.notNull && (!inherited || table.partition) ? ' NOT NULL' : '')
  );
}

/** CHECK constraints within CREATE TABLE: its own, and a partition's inherited ones, which ATTACH expects. */
function inlineChecks(table: TableObject, names: Names) {
  return names.parts(table.id).flatMap(({ object, separate }) => {
    if (object.form !== 'check' || separate || !(object.local || table.partition)) return [];
    return [object];
  });
}

function alterations(table: TableObject, names: Names): string {
  const foreign = table.relation === 'f' ? 'FOREIGN ' : '';
  const only = `ALTER ${foreign}TABLE ONLY ${names.of(table)}`;
  const columns = table.columns.flatMap((column) => {
    const inherited = names.inherited.notNull.has(`${table.id}/${column.name}`);
    const late = !isPrinted(table, column) && column.notNull && !inherited ? ['SET NOT NULL'] : [];
    return [...late, ...column.settings].map(
      (setting) => `${only} ALTER COLUMN ${names.quote(column.name)} ${setting};\n`,
    );
  });
  const identity = { n: 'NOTHING', f: 'FULL' }[table.replicaIdentity];
  return [
    ...(table.relation === 'v' ? [] : columns),
    identity && 'rpm'.includes(table.relation)
      ? `\nALTER TABLE ONLY ${names.of(table)} REPLICA IDENTITY ${identity};\n`
      : '',
    table.forcesRowSecurity ? `\nALTER TABLE ONLY ${names.of(table)} FORCE ROW LEVEL SECURITY;\n` : '',
  ].join('');
}

function privileges(table: TableObject, names: Names): Entry[] {
  const on = { on: 'TABLE', name: names.quote(table.name) };
  const entry = (sql: string, tag: string): Entry[] =>
    sql === ''
      ? []
      : [{ type: 'ACL', tag, schema: table.schema, owner: table.owner, sql, pass: 'privileges' }];
  const whole = table.items
    ? grantStatements({ ...on, items: table.items, base: table.base }, table, names.keywords)
    : '';
  return [
    ...entry(whole, `TABLE ${on.name}`),
    ...table.columns
      .filter(({ items }) => items.length > 0)
      .flatMap(({ name, items }) => {
        const column = names.quote(name);
        const sql = grantStatements({ ...on, items, base: [] }, { ...table, column }, names.keywords);
        return entry(sql, `COLUMN ${on.name}.${column}`);
      }),
  ];
}
