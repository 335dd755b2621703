import { CoppiceError } from '@coppice/service-kit';
import type { SchemaModel, SchemaObject } from '../model';
import { SCHEMA_LIMITS, schemaChanged, type SchemaLimits, type SchemaQuery, text } from '../schema-query';
import { readAfterData } from './after-data';
import { readChangedPrivileges } from './changed-privileges';
import { readConstraints } from './constraints';
import { readComments, readDependencies, readMembers } from './dependencies';
import { type Indexes, readIndexes } from './indexes';
import { readNamespaces } from './namespaces';
import { readNotes } from './notes';
import { readRelations } from './relations';
import { readRoutines } from './routines';
import { readSeldom } from './seldom';
import { checkSize, prepareSession } from './session';
import { readTypes } from './types';

export const SERVER = `select current_setting('server_version') version, current_setting('server_encoding') encoding`;
const KEYWORDS = `select word from pg_get_keywords() where catcode <> 'U'`;
export const SESSION = `select current_setting('search_path') path`;
/** What PostgreSQL says of a row whose object is gone. */
const GONE = /cache lookup failed|could not open relation with OID|with OID \d+ does not exist/;

/** Reads the schema of the database that `query` is connected to, in a fixed number of statements. */
export async function readSchema(
  query: SchemaQuery,
  limits: SchemaLimits = SCHEMA_LIMITS,
): Promise<SchemaModel> {
  await prepareSession(query);
  await checkSize(query, limits);
  try {
    return await readStatements(query);
  } catch (error) {
    throw goneMeanwhile(error) ?? error;
  }
}

/** The refusal of a reading that came upon rows of things which are gone; `undefined` for any other failure. */
export function goneMeanwhile(error: unknown): CoppiceError | undefined {
  if (!(error instanceof Error) || !GONE.test(error.message)) return undefined;
  if (error instanceof CoppiceError && error.code !== 'sql-error') return undefined;
  return schemaChanged(error.message, error);
}

/** Reads in a session that is prepared; which statements that takes does not depend on their answers. */
export async function readStatements(query: SchemaQuery): Promise<SchemaModel> {
  const [server] = await query(SERVER);
  const keywords = new Set((await query(KEYWORDS)).map((row) => text(row, 'word')));
  const relations = await readRelations(query);
  const constraints = await readConstraints(query);
  const indexes = await readIndexes(query);
  const types = await readTypes(query);
  const objects: SchemaObject[] = [
    ...(await readNamespaces(query)),
    ...types.objects,
    ...(await readRoutines(query, keywords)),
    ...(await readSeldom(query)),
    ...relations.objects,
    ...constraints.objects,
    ...indexes.objects,
    ...(await readAfterData(query, keywords)),
    ...(await readChangedPrivileges(query)),
  ];
  const known = new Map(objects.map((object) => [object.id, object]));
  const model = {
    version: text(server ?? {}, 'version'),
    encoding: text(server ?? {}, 'encoding'),
    keywords,
    objects,
    needs: [
      ...relations.needs,
      ...indexes.needs,
      ...attachedBefore(constraints.foreignKeys, indexes),
      ...(await readDependencies(query, known, await readMembers(query))),
    ],
    comments: await readComments(query),
    constraints: constraints.keys,
    notes: [...indexes.notes, ...(await readNotes(query))],
  };
  const [session] = await query(SESSION);
  if (session?.['path'] !== '' && session?.['path'] !== '""')
    throw new Error('the statements of one reading did not share a session');
  return model;
}

/** A foreign key to a partitioned table comes after every partition's index has joined the one that it refers to. */
function attachedBefore(
  keys: readonly { readonly id: string; readonly partitionedIndex: string | null }[],
  { attaches }: Indexes,
): [string, string][] {
  const needs: [string, string][] = [];
  for (const { id, partitionedIndex } of keys) {
    const left = partitionedIndex === null ? [] : [partitionedIndex];
    for (let index = left.pop(); index !== undefined; index = left.pop()) {
      for (const part of attaches.get(index) ?? []) {
        needs.push([id, part.attach]);
        left.push(part.index);
      }
    }
  }
  return needs;
}
