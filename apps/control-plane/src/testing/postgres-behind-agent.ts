/** A real Postgres that answers the SQL of a stand-in agent's computes, whichever they are. */
import type { RunSqlRequest, SqlResult } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { startPostgres, type TestPostgres } from '@coppice/testing';

const AS_TEXT = { getTypeParser: () => (value: string) => value };
const CONFLICTS = new Set(['42P04', '42710', '2BP01', '55006']);

/** With the role and the database of every new project. */
export async function postgresBehindAgent(): Promise<TestPostgres> {
  const server = await startPostgres();
  for (const statement of [
    'create role neondb_owner login createdb createrole',
    'create role coppice_reader login',
    'create database neondb owner neondb_owner',
  ])
    await server.query(statement);
  return server;
}

/** As the agent runs them: in one transaction or each in its own, one command at a time, refusals with their SQLSTATE. */
export async function answerSql(server: TestPostgres, request: RunSqlRequest): Promise<SqlResult[]> {
  const results: SqlResult[] = [];
  let client: Awaited<ReturnType<TestPostgres['connect']>> | undefined;
  try {
    client = await server.connect(request.database);
    if (!request.separate) await client.query(request.readOnly ? 'begin read only' : 'begin');
    for (const text of request.statements) {
      const query = { text, rowMode: 'array' as const, queryMode: 'extended', types: AS_TEXT };
      const { fields, rows, command } = await client.query<(string | null)[]>(query);
      results.push({ columns: fields.map((f) => f.name), rows, commandTag: command });
    }
    if (!request.separate) await client.query('commit');
    return results;
  } catch (error) {
    const { code: sqlstate, message } = error as { code: string; message: string };
    throw new CoppiceError(CONFLICTS.has(sqlstate) ? 'Conflict' : 'Invalid', 'sql-error', message, {
      sqlstate,
      cause: error,
    });
  } finally {
    await client?.end();
  }
}
