/**
 * SQL of the control-plane's own in one compute: a session for each call, as superuser over the private socket, with
 * bounds on how many statements there are, on how long they take and on how much they answer.
 */
import type { RunSqlRequest, SqlResult } from '@coppice/contracts';
import { CoppiceError, withDeadline } from '@coppice/service-kit';
import { Client, type QueryArrayConfig } from 'pg';
import { SOCKET_PORT } from '../computes/compute-directory';
import { ADMIN_ROLE } from '../prepare/settings';
import { sqlError } from './sql-error';

const MAX_STATEMENTS = 1_000;
const MAX_STATEMENT_BYTES = 4 * 1024 * 1024;
const DEFAULT_DEADLINE_MS = 10_000;
const MAX_DEADLINE_MS = 60_000;
const DEFAULT_RESULT_BYTES = 8 * 1024 * 1024;
const MAX_RESULT_BYTES = 32 * 1024 * 1024;

export interface SqlSockets {
  readonly sockets: string;
  /** Through which no session can write. */
  readonly readOnlySockets: string;
}

export type SqlRequest = Omit<RunSqlRequest, 'computeId'>;

/** What the driver does not declare: single messages of the session. */
interface Messages {
  on(event: 'dataRow', listener: (message: { readonly length: number }) => void): void;
  on(event: 'commandComplete', listener: (message: { readonly text: string }) => void): void;
}

/** Runs all statements in one transaction, or each in its own; rejects with `sql-error` at the first that fails. */
export async function runSql(
  request: SqlRequest,
  { sockets, readOnlySockets }: SqlSockets,
  cancel: AbortSignal,
): Promise<SqlResult[]> {
  const { deadlineMs, maxResultBytes } = boundsOf(request);
  const signal = withDeadline(deadlineMs, cancel);
  const client = new Client({
    host: request.readOnly ? readOnlySockets : sockets,
    port: SOCKET_PORT,
    user: ADMIN_ROLE,
    database: request.database,
    application_name: 'coppice-control',
    // The server gives up by itself what nobody waits for any more, also when this process is gone.
    options: `-c search_path=pg_catalog -c statement_timeout=${deadlineMs} -c idle_in_transaction_session_timeout=${deadlineMs} -c client_connection_check_interval=1000`,
  });
  client.on('error', () => undefined);
  const session = new SqlSession(client, maxResultBytes);
  const onAbort = (): void => session.end(overdue(deadlineMs, signal.reason));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    await session.connect();
    if (!request.separate) await session.run('begin', -1);
    const results: SqlResult[] = [];
    for (const [i, statement] of request.statements.entries()) results.push(await session.run(statement, i));
    if (!request.separate) await session.run('commit', request.statements.length - 1);
    return results;
  } finally {
    signal.removeEventListener('abort', onAbort);
    session.close();
  }
}

class SqlSession {
  readonly #client: Client;
  readonly #maxBytes: number;
  /** Rejects when the session is ended from here. */
  readonly #ended: Promise<never>;
  #end!: (error: Error) => void;
  #bytes = 0;
  #tag = '';

  constructor(client: Client, maxBytes: number) {
    this.#client = client;
    this.#maxBytes = maxBytes;
    this.#ended = new Promise((_, reject) => (this.#end = reject));
    this.#ended.catch(() => undefined);
    const { connection } = client as unknown as { connection: Messages };
    connection.on('commandComplete', ({ text }) => (this.#tag = text));
    connection.on('dataRow', ({ length }) => {
      this.#bytes += length;
      if (this.#bytes > this.#maxBytes) this.end(tooLarge(this.#maxBytes));
    });
  }

  async connect(): Promise<void> {
    await this.#orEnded(this.#client.connect(), -1);
  }

  async run(text: string, index: number): Promise<SqlResult> {
    // The extended protocol takes one command at a time, and so does our contract.
    const query = {
      text,
      rowMode: 'array',
      queryMode: 'extended',
      types: { getTypeParser: () => (value: string) => value },
    };
    const { fields, rows } = await this.#orEnded(
      this.#client.query<(string | null)[]>(query as unknown as QueryArrayConfig),
      index,
    );
    return { columns: fields.map((field) => field.name), rows, commandTag: this.#tag };
  }

  /** Ends it at once; what runs rejects with the error. */
  end(error: Error): void {
    this.#end(error);
    this.close();
  }

  close(): void {
    void this.#client.end().catch(() => undefined);
  }

  async #orEnded<T>(work: Promise<T>, index: number): Promise<T> {
    try {
      return await Promise.race([work, this.#ended]);
    } catch (error) {
      if (error instanceof CoppiceError) throw error;
      const { code, message, hint } = error as { code?: string; message: string; hint?: string };
      if (code && /^[0-9A-Z]{5}$/.test(code))
        throw sqlError({ code, message, ...(hint && { hint }) }, Math.max(0, index), error);
      throw new CoppiceError('Unavailable', 'compute-gone', `the compute ended the session: ${message}`, {
        remedy: 'Ask again: whether a change was made is not known.',
        cause: error,
      });
    }
  }
}

function boundsOf({ statements, deadlineMs, maxResultBytes }: SqlRequest): {
  deadlineMs: number;
  maxResultBytes: number;
} {
  const bytes = statements.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const over = (what: string, bound: string): CoppiceError =>
    new CoppiceError('Invalid', 'sql-request-too-large', `the request has ${what}, at most ${bound}`, {
      remedy: 'Ask in several requests.',
    });
  if (statements.length > MAX_STATEMENTS)
    throw over(`${statements.length} statements`, `${MAX_STATEMENTS} are taken`);
  if (bytes > MAX_STATEMENT_BYTES) throw over(`${bytes} bytes of SQL`, `${MAX_STATEMENT_BYTES} are taken`);
  return {
    deadlineMs: Math.min(MAX_DEADLINE_MS, deadlineMs || DEFAULT_DEADLINE_MS),
    maxResultBytes: Math.min(MAX_RESULT_BYTES, maxResultBytes || DEFAULT_RESULT_BYTES),
  };
}

function overdue(deadlineMs: number, cause: unknown): CoppiceError {
  return new CoppiceError(
    'Unavailable',
    'sql-overdue',
    `the statements did not end within ${deadlineMs} ms, or nobody waits for them any more`,
    {
      remedy:
        'Ask again with a longer deadline: a change that was under way is undone unless it was committed in that moment.',
      cause,
    },
  );
}

function tooLarge(bytes: number): CoppiceError {
  return new CoppiceError('QuotaExceeded', 'result-too-large', `the result is larger than ${bytes} bytes`, {
    remedy: 'Ask for fewer rows or raise max_result_bytes.',
  });
}
