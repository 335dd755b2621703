import type { SchemaObject } from '../model';
import type { Entry, Names } from './entry';
import { quoteText } from './quoting';

const INITIAL_COMMENT = 'standard public schema';

export interface Commented {
  readonly id: string;
  readonly schema: string | null;
  readonly owner: string;
  /** `TABLE`, or `TRIGGER "t" ON` with the table as name. */
  readonly on: string;
  /** Quoted, without the schema. */
  readonly name: string;
}

/** COMMENT ON an object, when there is one. */
export function objectComment(names: Names, { id, schema, owner, on, name }: Commented): Entry[] {
  const isPublic = on === 'SCHEMA' && name === 'public';
  const comment = names.comments(id).get(0) ?? (isPublic ? '' : undefined);
  if (comment === undefined || (isPublic && comment === INITIAL_COMMENT)) return [];
  const prefix = schema === null ? '' : `${names.quote(schema)}.`;
  return [
    {
      type: 'COMMENT',
      tag: `${on} ${name}`,
      schema,
      owner,
      sql: `COMMENT ON ${on} ${prefix}${name} IS ${quoteText(comment)};\n`,
      ...(on === 'EVENT TRIGGER' ? { pass: 'events' as const } : {}),
    },
  ];
}

/** COMMENT ON each column that has one; `id` is what the comments are kept under. */
export function columnComments(
  names: Names,
  object: SchemaObject & { readonly owner: string },
  columns: ReadonlyMap<number, string>,
  id = object.id,
): Entry[] {
  return [...names.comments(id)].flatMap(([number, comment]) => {
    const column = columns.get(number);
    if (column === undefined) return [];
    const sql = `COMMENT ON COLUMN ${names.of(object)}.${names.quote(column)} IS ${quoteText(comment)};\n`;
    const tag = `COLUMN ${names.quote(object.name)}.${names.quote(column)}`;
    return [{ type: 'COMMENT', tag, schema: object.schema, owner: object.owner, sql }];
  });
}
