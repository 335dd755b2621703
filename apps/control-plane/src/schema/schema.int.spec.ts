import { FULL, pgDump17, startPostgres, type TestPostgres } from '@coppice/testing';
import type { SchemaModel } from './model';
import { readSchema } from './read/read-schema';
import { RICH_ROLES, RICH_SCHEMA } from './rich-schema.fixture';
import { schemaJson } from './schema-json';
import { SCHEMA_LIMITS, type SchemaLimits, type SchemaQuery, type SchemaRow } from './schema-query';
import { schemaSql } from './schema-sql';

const AS_TEXT = { getTypeParser: () => (value: string) => value };

/** Without what only psql understands, and who dumped. */
const comparable = (dump: string): string =>
  dump
    .split('\n')
    .filter((line) => !/^\\(un)?restrict |^-- Dumped (from|by) /.test(line))
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();

let server: TestPostgres;
beforeAll(async () => {
  server = await startPostgres();
  for (const statement of RICH_ROLES) await server.query(statement);
});
afterAll(() => server.dispose());

const make = async (database: string, statements: readonly string[]): Promise<void> => {
  await server.query(`create database ${database} template template0`);
  const client = await server.connect(database);
  try {
    for (const statement of statements)
      await client.query(statement).catch((error: Error) => {
        throw new Error(`${error.message} in ${statement.slice(0, 2000)}`);
      });
  } finally {
    await client.end();
  }
};

const read = async (database: string, limits?: SchemaLimits): Promise<SchemaModel> => {
  const client = await server.connect(database);
  const query: SchemaQuery = async (text) => (await client.query<SchemaRow>({ text, types: AS_TEXT })).rows;
  try {
    await client.query('begin isolation level repeatable read read only');
    return await readSchema(query, limits);
  } finally {
    await client.end();
  }
};

const dump = (database: string): Promise<string> | undefined =>
  pgDump17(
    `postgresql://postgres@/${database}?host=${server.socketDirectory}&port=${server.port}`,
    '--schema-only',
  );

describe('a schema with one of everything', () => {
  let model: SchemaModel;
  let sql: string;
  beforeAll(async () => {
    await make('rich', RICH_SCHEMA);
    model = await read('rich');
    sql = schemaSql(model);
  });

  it('is written as pg_dump writes it, but for the options of user mappings', async () => {
    const dumped = await dump('rich');
    if (dumped !== undefined) expect(comparable(sql)).toBe(comparable(dumped));
  });

  it('is made again by its SQL: reading the copy gives the same text', async () => {
    await make('copy', [sql]);
    expect(schemaSql(await read('copy'))).toBe(sql);
    const [original, copy] = [await dump('rich'), await dump('copy')];
    if (original !== undefined && copy !== undefined) expect(comparable(copy)).toBe(comparable(original));
  });

  it('is told as JSON with keys, references and generated columns', () => {
    const tables = new Map(schemaJson(model).tables.map((table) => [`${table.schema}.${table.name}`, table]));
    expect(tables.get('app.refers')).toEqual({
      schema: 'app',
      name: 'refers',
      columns: [
        { name: 'at', type: 'date', nullable: true },
        { name: 'n', type: 'integer', nullable: true },
      ],
      constraints: [
        {
          type: 'foreign_key',
          columns: ['at', 'n'],
          name: 'refers_at_n_fkey',
          referenced_table: { schema: 'app', table: 'events', columns: ['at', 'n'] },
        },
      ],
    });
    expect(tables.get('app.items')!.columns).toContainEqual({
      name: 'doubled',
      type: 'integer',
      nullable: true,
      generated: true,
    });
    expect(tables.has('Hostile "schema"; drop.Ta"ble\nwith line')).toBe(true);
    expect(tables.has('app.top')).toBe(false);
  });

  it('is refused beyond each limit, which is named', async () => {
    for (const [limit, what] of [
      ['relations', /relations, more than 3/],
      ['columns', /columns, more than 3/],
      ['functions', /functions, more than 3/],
      ['catalogBytes', /bytes of definitions, more than 3/],
    ] as const)
      await expect(read('rich', { ...SCHEMA_LIMITS, [limit]: 3 })).rejects.toMatchObject({
        code: 'schema-too-large',
        message: expect.stringMatching(what),
      });
    expect(() => schemaSql(model, { ...SCHEMA_LIMITS, sqlCharacters: 1000 })).toThrow(/characters of SQL/);
  });
});

describe('what the SQL does not say', () => {
  it('is said in comments, on one line each whatever the names, and passwords are not', async () => {
    await make('secret', [
      'create foreign data wrapper w',
      `create server "a\nselect 1; --" foreign data wrapper w`,
      `create user mapping for public server "a\nselect 1; --" options (password 'hush')`,
    ]);
    const sql = schemaSql(await read('secret'));
    expect(sql).toContain(
      '-- Not written: user mapping for public on server "a select 1; --" is written without its options',
    );
    expect(sql).not.toContain('hush');
    await make('secret_copy', [sql]);
  });
});

const itFull = FULL ? it : it.skip;

itFull(
  'ten thousand tables are read and written within seconds',
  async () => {
    await make('large', [
      'set synchronous_commit = off',
      ...Array.from(
        { length: 20 },
        (_, part) => `do $$ begin for i in ${part * 500}..${part * 500 + 499} loop
        execute format('create table t%s (id bigserial primary key, name text not null default ''x'', n int check (n > 0))', i);
        execute format('create index on t%s (name)', i); end loop; end $$`,
      ),
    ]);
    const model = await read('large');
    const sql = schemaSql(model);
    expect(sql.match(/^CREATE TABLE /gm)).toHaveLength(10_000);
    expect(schemaJson(model).tables).toHaveLength(10_000);
  },
  120_000,
);
