/**
 * What a request to `/sql` asks for, from its headers and its body. Headers that are not exactly `true` say no, as Neon reads them.
 * It becomes the bytes for the server at once: the JSON that was read takes ten times as much memory as they do, and a request may
 * wait for long.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { MAX_PARAMETERS, SYNC, writeStatement } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import { parameterText } from './parameter-text';
import type { RowForm } from './result-json';

interface Statement {
  readonly message: Buffer;
  readonly form: RowForm;
}

/** Of a batch, which is one transaction. */
export interface TransactionMode {
  readonly isolation: Isolation | undefined;
  readonly readOnly: boolean;
  readonly deferrable: boolean;
}

export interface SqlRequest {
  /** A batch begins with the BEGIN of its transaction, whose COMMIT comes later. */
  readonly kind: 'single' | 'batch';
  /** For the server, with the Sync at the end. */
  readonly bytes: Buffer;
  /** Of the rows of each statement in them. */
  readonly forms: readonly RowForm[];
}

const ISOLATIONS = {
  ReadUncommitted: 'READ UNCOMMITTED',
  ReadCommitted: 'READ COMMITTED',
  RepeatableRead: 'REPEATABLE READ',
  Serializable: 'SERIALIZABLE',
} as const;
type Isolation = keyof typeof ISOLATIONS;

/** Statements in a batch: each costs some memory here, whatever its length. */
const MAX_STATEMENTS = 10_000;

const isTrue = (value: string | string[] | undefined): boolean => value === 'true';

function malformed(message: string, remedy?: string): CoppiceError {
  return new CoppiceError('Malformed', 'bad-request-body', message, remedy ? { remedy } : {});
}

export function readMode(headers: IncomingHttpHeaders): TransactionMode {
  const level = headers['neon-batch-isolation-level'];
  if (level !== undefined && !(typeof level === 'string' && Object.hasOwn(ISOLATIONS, level)))
    throw new CoppiceError('Malformed', 'invalid-isolation-level', 'invalid isolation level', {
      remedy: `Give one of ${Object.keys(ISOLATIONS).join(', ')}.`,
    });
  return {
    isolation: level as Isolation | undefined,
    readOnly: isTrue(headers['neon-batch-read-only']),
    deferrable: isTrue(headers['neon-batch-deferrable']),
  };
}

/** `BEGIN` with what was asked for; what was not is the session's default. */
export function beginOf({ isolation, readOnly, deferrable }: TransactionMode): string {
  return [
    'BEGIN',
    isolation && `ISOLATION LEVEL ${ISOLATIONS[isolation]}`,
    readOnly && 'READ ONLY',
    deferrable && 'DEFERRABLE',
  ]
    .filter(Boolean)
    .join(' ');
}

/** The headers by which the answer to a batch says how it was run. */
export function modeHeaders({ isolation, readOnly, deferrable }: TransactionMode): Record<string, string> {
  return {
    ...(isolation && { 'neon-batch-isolation-level': isolation }),
    ...(readOnly && { 'neon-batch-read-only': 'true' }),
    ...(deferrable && { 'neon-batch-deferrable': 'true' }),
  };
}

export function readSqlRequest(headers: IncomingHttpHeaders, body: Buffer): SqlRequest {
  const form = {
    raw: isTrue(headers['neon-raw-text-output']),
    asArrays: isTrue(headers['neon-array-mode']),
  };
  const mode = readMode(headers);
  const parsed = parse(body);
  if ('query' in parsed) return requestOf('single', [readStatement(parsed, form, 'the body')]);
  const { queries } = parsed as { queries?: unknown };
  if (!Array.isArray(queries)) throw malformed('the body has neither "query" nor an array "queries"');
  if (queries.length > MAX_STATEMENTS) throw malformed(`more than ${MAX_STATEMENTS} statements in one batch`);
  return requestOf('batch', [
    { message: writeStatement(beginOf(mode), []), form },
    ...queries.map((query, at) => readStatement(query, form, `queries[${at}]`)),
  ]);
}

function requestOf(kind: SqlRequest['kind'], statements: readonly Statement[]): SqlRequest {
  return {
    kind,
    bytes: Buffer.concat([...statements.map(({ message }) => message), SYNC]),
    forms: statements.map(({ form }) => form),
  };
}

function parse(body: Buffer): object {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw malformed(
      `could not parse the HTTP request body: ${(error as Error).message.slice(0, 200)}`,
      'Send one JSON object.',
    );
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw malformed('could not parse the HTTP request body: it is not a JSON object');
  return parsed;
}

function readStatement(given: unknown, form: RowForm, where: string): Statement {
  const { query, params = [], arrayMode } = (given ?? {}) as Record<string, unknown>;
  if (typeof query !== 'string') throw malformed(`${where} has no string "query"`);
  if (query.includes('\0')) throw malformed(`"query" of ${where} holds a NUL character`);
  if (!Array.isArray(params)) throw malformed(`"params" of ${where} is not an array`);
  if (params.length > MAX_PARAMETERS) throw malformed(`${where} has more than ${MAX_PARAMETERS} parameters`);
  if (arrayMode !== undefined && arrayMode !== null && typeof arrayMode !== 'boolean')
    throw malformed(`"arrayMode" of ${where} is not a boolean`);
  const values = params.map((value, at) => parameterText(value, `params[${at}] of ${where}`));
  const asArrays = arrayMode ?? form.asArrays;
  return {
    message: writeStatement(query, values),
    form: asArrays === form.asArrays ? form : { raw: form.raw, asArrays },
  };
}
