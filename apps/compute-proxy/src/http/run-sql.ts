/**
 * Runs a request over a server connection that is its own for the time. A single statement is one round trip. A batch is two: the
 * transaction with all its statements, and its COMMIT only once all answers are here and small enough, so that what is refused
 * has not happened.
 */
import type { Message } from '@coppice/postgres';
import { readCommandTag, readDataRow, readRowDescription, SYNC, writeStatement } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import type { ServerMessages } from '../pool/server-messages';
import type { ByteAccount } from './byte-budget';
import { ResultJson } from './result-json';
import { responseTooLarge } from './sql-errors';
import { connectionLost, exchange, NotTakenUp } from './server-exchange';
import { beginOf, type SqlRequest, type Statement } from './sql-request';

export interface SqlLimits {
  /** Of the answer. */
  readonly maxBytes: number;
  /** Of what the request holds in memory. */
  readonly account: ByteAccount;
  /** What is not committed when it fires is not committed. */
  readonly signal: AbortSignal;
}

/** Gives the answer as JSON text. Throws `QueryFailed` when a statement fails; the connection may be used again if it is idle. */
export async function runSql(
  server: ServerMessages,
  request: SqlRequest,
  limits: SqlLimits,
): Promise<string> {
  return request.kind === 'single'
    ? runSingle(server, request.statement, limits)
    : runBatch(server, request.statements, beginOf(request.mode), limits);
}

async function runSingle(server: ServerMessages, statement: Statement, limits: SqlLimits): Promise<string> {
  const results = new Results([statement], limits);
  const failed = await exchange(server, written([statement]), (message) => results.take(message));
  if (failed) throw failed;
  return results.json()[0]!;
}

async function runBatch(
  server: ServerMessages,
  statements: readonly Statement[],
  begin: string,
  limits: SqlLimits,
): Promise<string> {
  const all = [control(begin), ...statements];
  const results = new Results(all, limits);
  const failed = await exchange(server, written(all), (message) => results.take(message));
  if (failed || limits.signal.aborted) {
    if (!server.isIdle) await exchange(server, written([control('ROLLBACK')]), ignore);
    throw failed ?? limits.signal.reason;
  }
  const notCommitted = await exchange(server, written([control('COMMIT')]), ignore).catch(
    (error: unknown) => {
      // Statements that commit by themselves are done already.
      throw error instanceof NotTakenUp ? connectionLost(error) : error;
    },
  );
  if (notCommitted) throw notCommitted;
  return `{"results":[${results.json().slice(1).join(',')}]}`;
}

const control = (query: string): Statement => ({
  query,
  parameters: [],
  form: { raw: true, asArrays: true },
});
const ignore = (): void => undefined;

function written(statements: readonly Statement[]): Buffer {
  return Buffer.concat([...statements.map((s) => writeStatement(s.query, s.parameters)), SYNC]);
}

/** The results of statements that run one after the other, bounded together. */
class Results {
  readonly #results: readonly ResultJson[];
  readonly #limits: SqlLimits;
  /** Of values as the server sent them. */
  #bytes = 0;
  #before = 0;
  #at = 0;

  constructor(statements: readonly Statement[], limits: SqlLimits) {
    this.#results = statements.map(({ form }) => new ResultJson(form));
    this.#limits = limits;
  }

  take({ type, body }: Message): void {
    const result = this.#results[this.#at]!;
    switch (type) {
      case 'T':
        return result.describe(readRowDescription(body));
      case 'D':
        return this.#row(result, body);
      case 'C':
        result.complete(readCommandTag(body));
        return this.#next(result);
      case 'I':
        return this.#next(result);
      case 'G':
      case 'H':
      case 'W':
        throw new CoppiceError(
          'Malformed',
          'copy-not-over-http',
          'COPY from or to the client cannot go over HTTP',
          {
            remedy: 'Connect over WebSocket or the Postgres protocol.',
            sqlstate: '0A000',
          },
        );
    }
  }

  #row(result: ResultJson, body: Buffer): void {
    const { maxBytes, account } = this.#limits;
    account.add(body.length);
    this.#bytes += body.length;
    result.row(readDataRow(body));
    if (Math.max(this.#bytes, this.#before + result.length) > maxBytes) throw responseTooLarge(maxBytes);
  }

  #next(result: ResultJson): void {
    this.#before += result.length;
    this.#at += 1;
  }

  json(): readonly string[] {
    return this.#results.map((result) => result.json());
  }
}
