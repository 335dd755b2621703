import { CoppiceError } from '@coppice/service-kit';

export type SchemaRow = Readonly<Record<string, string | null>>;

/**
 * Runs one statement of a superuser's session and gives its rows, every value as text. All statements of a reading run in
 * one session, in one read-only repeatable-read transaction; the session is not used for anything else afterwards.
 */
export type SchemaQuery = (sql: string) => Promise<readonly SchemaRow[]>;

/** What a schema may amount to. Beyond it reading or writing refuses with `schema-too-large`. */
export interface SchemaLimits {
  /** Tables, views, sequences, indexes and composite types. */
  readonly relations: number;
  readonly columns: number;
  readonly functions: number;
  /** Bytes of function bodies, views, expressions and comments as the catalog keeps them. */
  readonly catalogBytes: number;
  /** Characters of the SQL that is written. */
  readonly sqlCharacters: number;
}

const MIB = 1024 * 1024;

export const SCHEMA_LIMITS: SchemaLimits = {
  relations: 100_000,
  columns: 1_000_000,
  functions: 50_000,
  catalogBytes: 256 * MIB,
  sqlCharacters: 64 * MIB,
};

/** The refusal of a schema that exceeds one of its limits. */
export function schemaTooLarge(what: string, is: number, limit: number): CoppiceError {
  return new CoppiceError(
    'QuotaExceeded',
    'schema-too-large',
    `the schema has ${is} ${what}, more than ${limit}`,
    {
      remedy: 'Read it with pg_dump --schema-only over the connection string of the branch.',
    },
  );
}

/** Rows of the catalog that name things which are gone: a statement changed the schema meanwhile. */
export function schemaChanged(what: string, cause?: unknown): CoppiceError {
  return new CoppiceError('Locked', 'schema-changing', `the schema changed while it was read: ${what}`, {
    remedy: 'Ask again once the statements that change it have ended.',
    cause,
  });
}

/** The column of a row that is never null. */
export function text(row: SchemaRow, column: string): string {
  const value = row[column];
  if (value === null || value === undefined)
    throw schemaChanged(`${column} of ${row['name'] ?? row['id'] ?? 'a row'}`);
  return value;
}

/** Whether a boolean column is true. */
export function flag(row: SchemaRow, column: string): boolean {
  return row[column] === 't' || row[column] === 'true';
}

/** A column that holds a JSON array of texts; null is none. */
export function list(row: SchemaRow, column: string): readonly string[] {
  const value = row[column];
  return value ? (JSON.parse(value) as string[]) : [];
}
