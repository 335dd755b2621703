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
import { ResultJson, type RowForm } from './result-json';
import { type QueryFailed, responseTooLarge } from './sql-errors';
import { connectionLost, exchange, NotTakenUp } from './server-exchange';
import type { SqlRequest } from './sql-request';

export interface SqlLimits {
  /** Of the answer. */
  readonly maxBytes: number;
  /** Of what the request holds in memory. */
  readonly account: ByteAccount;
  /** What is not committed when it fires is not committed. */
  readonly signal: AbortSignal;
}

/** Gives the answer as JSON in UTF-8. Throws `QueryFailed` when a statement fails; the connection may be used again if it is idle. */
export async function runSql(
  server: ServerMessages,
  request: SqlRequest,
  limits: SqlLimits,
): Promise<Buffer> {
  const results = new Results(request.forms, limits);
  const failed = await exchange(server, request.bytes, (message) => results.take(message));
  if (request.kind === 'batch') await commit(server, failed, limits.signal);
  else if (failed) throw failed;
  return Buffer.concat(request.kind === 'batch' ? results.ofBatch() : results.ofOne());
}

async function commit(
  server: ServerMessages,
  failed: QueryFailed | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (failed || signal.aborted) {
    if (!server.isIdle) await exchange(server, ROLLBACK, ignore);
    throw failed ?? signal.reason;
  }
  const notCommitted = await exchange(server, COMMIT, ignore).catch((error: unknown) => {
    // Statements that commit by themselves are done already.
    throw error instanceof NotTakenUp ? connectionLost(error) : error;
  });
  if (notCommitted) throw notCommitted;
}

const COMMIT = Buffer.concat([writeStatement('COMMIT', []), SYNC]);
const ROLLBACK = Buffer.concat([writeStatement('ROLLBACK', []), SYNC]);
const ignore = (): void => undefined;

const COMMA = Buffer.from(',');

/** The results of statements that run one after the other, bounded together. */
class Results {
  readonly #results: readonly ResultJson[];
  readonly #limits: SqlLimits;
  /** Of values as the server sent them. */
  #bytes = 0;
  /** Of the results before the present one. */
  #before = 0;
  /** Of JSON, that the account knows of. */
  #counted = 0;
  #at = 0;

  constructor(forms: readonly RowForm[], limits: SqlLimits) {
    this.#results = forms.map((form) => new ResultJson(form));
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
    const { maxBytes } = this.#limits;
    this.#bytes += body.length;
    result.row(readDataRow(body));
    if (Math.max(this.#bytes, this.#before + result.length) > maxBytes) throw responseTooLarge(maxBytes);
    this.#count(this.#before + result.length);
  }

  #next(result: ResultJson): void {
    this.#before += result.length;
    this.#count(this.#before);
    this.#at += 1;
  }

  #count(held: number): void {
    this.#limits.account.add(held - this.#counted);
    this.#counted = held;
  }

  ofOne(): readonly Buffer[] {
    return this.#results[0]!.json();
  }

  /** Without what BEGIN said. */
  ofBatch(): readonly Buffer[] {
    const [, ...results] = this.#results.map((result) => result.json());
    return [
      Buffer.from('{"results":['),
      ...results.flatMap((pieces, at) => (at > 0 ? [COMMA, ...pieces] : pieces)),
      Buffer.from(']}'),
    ];
  }
}
