import type {
  AttachObject,
  CheckObject,
  DefaultObject,
  DomainObject,
  IndexAttachObject,
  IndexObject,
  KeyObject,
  RowSecurityObject,
  RuleObject,
  TableObject,
} from '../model';
import type { Node } from '../order/node';
import { objectComment } from './comments';
import type { Entry, Names } from './entry';
import { grantStatements } from './grants';
import { storageParameters } from './quoting';
import { replaceView } from './write-table';

const foreign = (table: TableObject): string => (table.relation === 'f' ? 'FOREIGN ' : '');

/** ALTER TABLE … SET DEFAULT, when CREATE TABLE could not say it. */
export function writeDefault({ separate }: Node, one: DefaultObject, names: Names): Entry[] {
  const table = names.table(one.table);
  const column = table.columns.find(({ number }) => number === one.column);
  if (!separate || !column || !table.written || names.inherited.sameExpression.has(one.id)) return [];
  const sql = `ALTER ${foreign(table)}TABLE ONLY ${names.of(table)} ALTER COLUMN ${names.quote(column.name)} SET DEFAULT ${one.expression};\n`;
  return [
    { type: 'DEFAULT', tag: `${table.name} ${column.name}`, schema: table.schema, owner: table.owner, sql },
  ];
}

/** ADD CONSTRAINT … CHECK, when it is not part of CREATE TABLE or CREATE DOMAIN. */
export function writeCheck({ separate }: Node, check: CheckObject, names: Names): Entry[] {
  if (!separate || !check.local) return [];
  const of = names.object(check.of);
  const add = `ADD CONSTRAINT ${names.quote(check.name)} ${check.definition};\n`;
  const tag = `${of.name} ${check.name}`;
  if (of.form === 'domain')
    return [
      {
        type: check.type === 'c' ? 'CHECK CONSTRAINT' : 'CONSTRAINT',
        tag,
        schema: of.schema,
        owner: of.owner,
        sql: `ALTER DOMAIN ${names.of(of)}\n    ${add}`,
      },
      ...domainCheckComment(of, check, names),
    ];
  const table = names.table(check.of);
  if (!table.written) return [];
  const sql = `ALTER ${foreign(table)}TABLE ${names.of(table)}\n    ${add}`;
  return [
    { type: 'CHECK CONSTRAINT', tag, schema: table.schema, owner: table.owner, sql },
    ...constraintComment(table, check, names),
  ];
}

function constraintComment(table: TableObject, { id, name }: CheckObject | KeyObject, names: Names): Entry[] {
  return objectComment(names, {
    ...table,
    id,
    on: `CONSTRAINT ${names.quote(name)} ON`,
    name: names.quote(table.name),
  });
}

function domainCheckComment(domain: DomainObject, { id, name }: CheckObject, names: Names): Entry[] {
  const on = `CONSTRAINT ${names.quote(name)} ON DOMAIN`;
  return objectComment(names, { ...domain, id, on, name: names.quote(domain.name) });
}

/** CREATE DOMAIN with its constraints. */
export function writeDomain(domain: DomainObject, names: Names): Entry[] {
  const inline = names
    .parts(domain.id)
    .flatMap(({ object, separate }) => (object.form === 'check' && !separate ? [object] : []));
  const checks = inline.filter(({ type }) => type === 'c');
  const notNull = inline.filter(({ type }) => type === 'n');
  const named = notNull.find(({ name }) => name !== `${domain.name}_not_null`);
  const sql = [
    `CREATE DOMAIN ${names.of(domain)} AS ${domain.base}`,
    named
      ? ` CONSTRAINT ${names.quote(named.name)} ${named.definition}`
      : notNull.length > 0
        ? ' NOT NULL'
        : '',
    domain.default === null ? '' : ` DEFAULT ${domain.default}`,
    ...checks.map(({ name, definition }) => `\n\tCONSTRAINT ${names.quote(name)} ${definition}`),
    ';\n',
  ].join('');
  const grants = domain.grants ? grantStatements(domain.grants, domain, names.keywords) : '';
  const identity = { schema: domain.schema, owner: domain.owner };
  return [
    { ...identity, type: 'DOMAIN', tag: domain.name, sql, ownerOf: `DOMAIN ${names.of(domain)}` },
    ...objectComment(names, { ...domain, on: 'DOMAIN', name: names.quote(domain.name) }),
    ...(grants
      ? [
          {
            ...identity,
            type: 'ACL',
            tag: `TYPE ${names.quote(domain.name)}`,
            sql: grants,
            pass: 'privileges' as const,
          },
        ]
      : []),
    ...[...checks, ...notNull].flatMap((check) => domainCheckComment(domain, check, names)),
  ];
}

/** CREATE RULE; a view's query when it comes apart from the view. */
export function writeRule({ separate }: Node, rule: RuleObject, names: Names): Entry[] {
  const table = names.table(rule.table);
  if (!separate || !table.written) return [];
  const firing = rule.enabled
    ? `ALTER TABLE ${names.of(table)} ${rule.enabled} RULE ${names.quote(rule.name)};\n`
    : '';
  const sql = (rule.isQuery ? replaceView(table, names) : `${rule.definition}\n`) + firing;
  return [
    { type: 'RULE', tag: `${table.name} ${rule.name}`, schema: table.schema, owner: table.owner, sql },
    ...objectComment(names, {
      ...table,
      id: rule.id,
      on: `RULE ${names.quote(rule.name)} ON`,
      name: names.quote(table.name),
    }),
  ];
}

/** ALTER TABLE … ATTACH PARTITION. */
export function writeAttach({ parent, child, bound }: AttachObject, names: Names): Entry[] {
  const partition = names.table(child);
  const sql = `ALTER TABLE ONLY ${names.of(names.table(parent))} ATTACH PARTITION ${names.of(partition)} ${bound};\n`;
  return [
    { type: 'TABLE ATTACH', tag: partition.name, schema: partition.schema, owner: partition.owner, sql },
  ];
}

/** CREATE INDEX, unless a constraint makes the index; its comment in any case. */
export function writeIndex(index: IndexObject, names: Names): Entry[] {
  const table = names.table(index.table);
  const comment = objectComment(names, {
    ...table,
    id: index.id,
    on: 'INDEX',
    name: names.quote(index.name),
  });
  if (index.constraint !== null) return comment;
  const sql = [
    `${index.definition};\n`,
    clustered(index, table, names),
    ...index.statistics.map((setting) => `ALTER INDEX ${names.of(index)} ALTER COLUMN ${setting};\n`),
    extensionsOf(index, names),
    identifies(index, table, names),
  ].join('');
  const tablespace = index.tablespace ?? '';
  return [
    { type: 'INDEX', tag: index.name, schema: table.schema, owner: table.owner, tablespace, sql },
    ...comment,
  ];
}

function clustered(index: IndexObject, table: TableObject, names: Names): string {
  return index.clustered ? `\nALTER TABLE ${names.of(table)} CLUSTER ON ${names.quote(index.name)};\n` : '';
}

function identifies(index: IndexObject, table: TableObject, names: Names): string {
  const only = `\nALTER TABLE ONLY ${names.of(table)} REPLICA IDENTITY USING INDEX`;
  return index.identifies ? `${only} ${names.quote(index.name)};\n` : '';
}

function extensionsOf(index: IndexObject, names: Names): string {
  const alter = `\nALTER INDEX ${names.of(index)} DEPENDS ON EXTENSION`;
  return index.extensions.map((name) => `${alter} ${names.quote(name)};`).join('');
}

/** ALTER INDEX … ATTACH PARTITION. */
export function writeIndexAttach({ parent, child }: IndexAttachObject, names: Names): Entry[] {
  const [whole, part] = [names.object(parent), names.object(child)];
  if (whole.form !== 'index' || part.form !== 'index') return [];
  const sql = `ALTER INDEX ${names.of(whole)} ATTACH PARTITION ${names.of(part)};\n`;
  const { owner } = names.table(whole.table);
  return [{ type: 'INDEX ATTACH', tag: part.name, schema: part.schema, owner, sql }];
}

/** Primary keys, unique, exclusion and foreign key constraints. */
export function writeKey(key: KeyObject, names: Names): Entry[] {
  const table = names.table(key.table);
  if (!table.written) return [];
  const index = key.index === null ? undefined : names.object(key.index);
  const definition = key.definition ?? uniqueDefinition(key, names);
  const sql = [
    `ALTER ${foreign(table)}TABLE ${key.only ? 'ONLY ' : ''}${names.of(table)}\n`,
    `    ADD CONSTRAINT ${names.quote(key.name)} ${definition};\n`,
    ...(index?.form === 'index'
      ? [clustered(index, table, names), identifies(index, table, names), extensionsOf(index, names)]
      : []),
  ].join('');
  return [
    {
      type: key.type,
      tag: `${table.name} ${key.name}`,
      schema: table.schema,
      owner: table.owner,
      sql,
      ...(index?.form === 'index' ? { tablespace: index.tablespace ?? '' } : {}),
    },
    ...constraintComment(table, key, names),
  ];
}

function uniqueDefinition({ unique }: KeyObject, names: Names): string {
  if (!unique) throw new Error('a key has neither a definition nor columns');
  const columns = (list: readonly string[]): string => list.map((name) => names.quote(name)).join(', ');
  const options = storageParameters(unique.options, names.keywords);
  return [
    unique.primary ? 'PRIMARY KEY' : 'UNIQUE',
    unique.nullsSame && !unique.primary ? ' NULLS NOT DISTINCT' : '',
    ` (${columns(unique.columns)})`,
    unique.included.length > 0 ? ` INCLUDE (${columns(unique.included)})` : '',
    options.length > 0 ? ` WITH (${options.join(', ')})` : '',
    unique.deferrable ? ' DEFERRABLE' : '',
    unique.deferrable && unique.deferred ? ' INITIALLY DEFERRED' : '',
  ].join('');
}

/** ENABLE ROW LEVEL SECURITY. */
export function writeRowSecurity({ table: id }: RowSecurityObject, names: Names): Entry[] {
  const table = names.table(id);
  const sql = `ALTER TABLE ${names.of(table)} ENABLE ROW LEVEL SECURITY;`;
  return [{ type: 'ROW SECURITY', tag: table.name, schema: table.schema, owner: table.owner, sql }];
}
