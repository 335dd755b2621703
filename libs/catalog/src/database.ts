import { Kysely, PostgresDialect, type PostgresPool, type Transaction } from 'kysely';
import { Pool, type PoolClient, types } from 'pg';
import { parseLsn } from '@coppice/vocabulary';
import { CoppiceError, type Log } from '@coppice/service-kit';
import { migrate } from './migrations/migrate';
import type { CatalogTables } from './schema';

/** The catalog or a transaction on it: what every repository function takes first. */
export type Db = Kysely<CatalogTables> | Transaction<CatalogTables>;

export interface CatalogOptions {
  /** Host name, address, or the directory of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly password?: string;
  /** Connections kept at most. */
  readonly maxConnections?: number;
  readonly log: Log;
}

export interface Catalog {
  readonly db: Kysely<CatalogTables>;
  /** Applies missing migrations and answers with their names. */
  migrate(): Promise<readonly string[]>;
  close(): Promise<void>;
}

const OID = { int8: 20, timestamptz: 1184, lsn: 3220 } as const;

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value))
    throw new CoppiceError(
      'Corrupt',
      'metadata-out-of-range',
      `the metadata holds ${text}, which is not exact as a number`,
    );
  return value;
}

function lsnText(text: string): unknown {
  const value = parseLsn(text);
  if (value === undefined)
    throw new CoppiceError(
      'Corrupt',
      'metadata-bad-lsn',
      `the metadata holds "${text}" where an LSN belongs`,
    );
  return value;
}

const PARSERS: Readonly<Record<number, (text: string) => unknown>> = {
  [OID.int8]: safeInteger,
  [OID.timestamptz]: (text) => new Date(text).getTime(),
  [OID.lsn]: lsnText,
};

const typeParsers = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    (format === 'binary' ? undefined : PARSERS[oid]) ?? types.getTypeParser(oid, format as 'text'),
};

/** Statements that the server keeps prepared, per connection; texts beyond the limit are planned each time. */
const MAX_PREPARED = 400;
const PREPARABLE = /^\s*(select|insert|update|delete|with)\b/i;

/** A pool whose clients prepare each distinct statement once: planning a large statement costs more than running it. */
class PreparingPool implements PostgresPool {
  readonly #pool: Pool;
  readonly #names = new Map<string, string>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  async connect(): Promise<PoolClient> {
    const client = await this.#pool.connect();
    return {
      query: (text: unknown, values?: unknown[]) => {
        if (typeof text !== 'string') return client.query(text as never);
        const name = this.#nameOf(text);
        return client.query(
          name === undefined ? { text, values: values ?? [] } : { name, text, values: values ?? [] },
        );
      },
      release: () => client.release(),
    } as unknown as PoolClient;
  }

  end(): Promise<void> {
    return this.#pool.end();
  }

  #nameOf(text: string): string | undefined {
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    if (this.#names.size >= MAX_PREPARED || !PREPARABLE.test(text)) return undefined;
    const name = `s${this.#names.size}`;
    this.#names.set(text, name);
    return name;
  }
}

/** Opens the metadata database; connections are made when needed and re-made after a loss. */
export function openCatalog({ log, maxConnections = 16, ...where }: CatalogOptions): Catalog {
  const pool = new Pool({
    ...where,
    max: maxConnections,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 60_000,
    statement_timeout: 30_000,
    application_name: 'coppice-control-plane',
    types: typeParsers,
  });
  pool.on('error', (error) => log.warn({ err: error }, 'metadata connection is lost'));
  const db = new Kysely<CatalogTables>({ dialect: new PostgresDialect({ pool: new PreparingPool(pool) }) });
  return { db, migrate: () => migrate(db as unknown as Kysely<unknown>), close: () => db.destroy() };
}

const UNIQUE_VIOLATION = '23505';

/** The name of the unique index that a failed statement ran into; `undefined` for any other error. */
export function violatedIndex(error: unknown): string | undefined {
  const { code, constraint } = (error ?? {}) as { code?: string; constraint?: string };
  return code === UNIQUE_VIOLATION ? constraint : undefined;
}
