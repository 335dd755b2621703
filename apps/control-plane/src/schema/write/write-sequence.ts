import type { SequenceObject } from '../model';
import { objectComment } from './comments';
import type { Entry, Names } from './entry';
import { grantStatements } from './grants';

/** CREATE SEQUENCE, or the identity column that it serves, and whose column owns it. */
export function writeSequence(sequence: SequenceObject, names: Names): Entry[] {
  const { ownedBy } = sequence;
  const named = { tag: sequence.name, schema: sequence.schema, owner: sequence.owner };
  const name = names.quote(sequence.name);
  const sql = sequence.items
    ? grantStatements(
        { on: 'SEQUENCE', name, items: sequence.items, base: sequence.base },
        sequence,
        names.keywords,
      )
    : '';
  return [
    {
      ...named,
      type: 'SEQUENCE',
      sql: definition(sequence, names),
      ownerOf: ownedBy?.identity ? null : `SEQUENCE ${names.of(sequence)}`,
    },
    ...(ownedBy && !ownedBy.identity
      ? [{ ...named, type: 'SEQUENCE OWNED BY', sql: ownership(sequence, ownedBy, names) }]
      : []),
    ...objectComment(names, { ...sequence, on: 'SEQUENCE', name }),
    ...(sql ? [{ ...named, type: 'ACL', tag: `SEQUENCE ${name}`, sql, pass: 'privileges' as const }] : []),
  ];
}

type Owner = NonNullable<SequenceObject['ownedBy']>;

function columnOf({ table, column }: Owner, names: Names) {
  const found = names.table(table).columns.find(({ number }) => number === column);
  if (!found) throw new Error(`a sequence belongs to column ${column} of ${table}, which it has not`);
  return found;
}

function ownership(sequence: SequenceObject, owner: Owner, names: Names): string {
  const column = `${names.of(names.table(owner.table))}.${names.quote(columnOf(owner, names).name)}`;
  return `ALTER SEQUENCE ${names.of(sequence)} OWNED BY ${column};\n`;
}

function definition(sequence: SequenceObject, names: Names): string {
  const { ownedBy, minimum, maximum } = sequence;
  const range = [
    `    START WITH ${sequence.start}\n`,
    `    INCREMENT BY ${sequence.increment}\n`,
    minimum === null ? '    NO MINVALUE\n' : `    MINVALUE ${minimum}\n`,
    maximum === null ? '    NO MAXVALUE\n' : `    MAXVALUE ${maximum}\n`,
    `    CACHE ${sequence.cache}${sequence.cycle ? '\n    CYCLE' : ''}`,
  ].join('');
  if (!ownedBy?.identity) {
    const type = sequence.valueType === 'bigint' ? '' : `    AS ${sequence.valueType}\n`;
    return `CREATE ${sequence.unlogged ? 'UNLOGGED ' : ''}SEQUENCE ${names.of(sequence)}\n${type}${range};\n`;
  }
  const table = names.table(ownedBy.table);
  const column = columnOf(ownedBy, names);
  const logged =
    table.unlogged === sequence.unlogged ? '' : `    ${sequence.unlogged ? 'UNLOGGED' : 'LOGGED'}\n`;
  return [
    `ALTER TABLE ${names.of(table)} ALTER COLUMN ${names.quote(column.name)} ADD GENERATED `,
    `${column.identity === 'a' ? 'ALWAYS' : 'BY DEFAULT'} AS IDENTITY (\n    SEQUENCE NAME ${names.of(sequence)}\n`,
    `${logged}${range}\n);\n`,
  ].join('');
}
