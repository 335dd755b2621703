/**
 * Reads a schema where a session is one call that takes all its statements: the reading is rehearsed on an empty database to
 * learn its statements, which do not depend on what is found, and then replayed over their answers.
 */
import type { SchemaModel } from '../model';
import { SCHEMA_LIMITS, type SchemaLimits, type SchemaQuery, type SchemaRow } from '../schema-query';
import { readStatements, SERVER, SESSION } from './read-schema';
import { checkSize, prepareSession } from './session';

/** Runs statements in one transaction and answers with the rows of each. */
export type RunAtOnce = (statements: readonly string[]) => Promise<readonly (readonly SchemaRow[])[]>;

const ONE_SNAPSHOT = 'set transaction isolation level repeatable read, read only';
const NOTHING = { relations: '0', columns: '0', functions: '0', bytes: '0' };
const ANSWERS: Readonly<Record<string, SchemaRow>> = {
  [SERVER]: { version: '', encoding: '' },
  [SESSION]: { path: '' },
};

async function statementsOf(
  read: (query: SchemaQuery) => Promise<unknown>,
  answer?: SchemaRow,
): Promise<string[]> {
  const statements: string[] = [];
  await read(async (sql) => {
    statements.push(sql);
    const row = ANSWERS[sql] ?? answer;
    return row ? [row] : [];
  });
  return statements;
}

/** In two calls: how large it is, then all of it. */
export async function readSchemaAtOnce(
  run: RunAtOnce,
  limits: SchemaLimits = SCHEMA_LIMITS,
): Promise<SchemaModel> {
  const prepare = await statementsOf(prepareSession);
  const size = await statementsOf((query) => checkSize(query, limits), NOTHING);
  await checkSize(replay(size, (await run([ONE_SNAPSHOT, ...prepare, ...size])).slice(-size.length)), limits);
  const statements = await statementsOf(readStatements);
  const answers = await run([ONE_SNAPSHOT, ...prepare, ...statements]);
  return readStatements(replay(statements, answers.slice(-statements.length)));
}

function replay(statements: readonly string[], answers: readonly (readonly SchemaRow[])[]): SchemaQuery {
  const known = new Map(statements.map((sql, i) => [sql, answers[i]]));
  return async (sql) => {
    const rows = known.get(sql);
    if (!rows) throw new Error(`the reading asks what it did not in its rehearsal: ${sql.slice(0, 200)}`);
    return rows;
  };
}
