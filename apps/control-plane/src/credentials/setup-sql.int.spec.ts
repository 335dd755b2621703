import { startPostgres, type TestPostgres } from '@coppice/testing';
import { setupStatements } from './setup-sql';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server?.dispose());

describe('set-up statements', () => {
  it('rename the role and the database, once, whatever the names hold', async () => {
    await server.query('create role neondb_owner login');
    await server.query('create database neondb owner neondb_owner');
    const names = ['o\'br"ien $x$', 'shop\\;--'] as const;
    for (let run = 0; run < 2; run++)
      for (const statement of setupStatements(...names)) await server.query(statement);
    const rows = await server.query<{ datname: string; owner: string }>(
      'select datname, rolname as owner from pg_database d join pg_roles r on r.oid = d.datdba where datname = $1',
      [names[1]],
    );
    expect(rows).toEqual([{ datname: names[1], owner: names[0] }]);
  });
});
