import type { PlainObject } from '../model';
import { type SchemaQuery, text } from '../schema-query';
import { type PlainKind, plainObject } from './plain';
import { CODE_QUERIES } from './seldom-code';
import { FOREIGN_QUERIES } from './seldom-foreign';
import { SEARCH_QUERIES } from './seldom-search';

/** A catalog whose rows are plain objects. */
export interface SeldomQuery extends PlainKind {
  readonly sql: string;
}

/** Objects that few applications have: each kind is one statement that composes the SQL. */
export async function readSeldom(query: SchemaQuery): Promise<PlainObject[]> {
  const objects: PlainObject[] = [];
  for (const { sql, ...kind } of [...CODE_QUERIES, ...FOREIGN_QUERIES, ...SEARCH_QUERIES])
    for (const row of await query(sql)) objects.push(plainObject({ ...row, sql: text(row, 'sql') }, kind));
  return objects;
}
