/**
 * Errors in the form the driver reads: on status 400 an object with PostgreSQL's error fields under node-postgres' names, `null`
 * where there is nothing to say. Other statuses are for what is not the request's fault, or has a status of its own.
 */
import { asCoppiceError, CoppiceError, ERROR_KINDS, shownOutside } from '@coppice/service-kit';
import { ServerRefused } from '../compute-connection';
import { readErrorFields } from '@coppice/postgres';

/** PostgreSQL's error, by the one-letter types of its fields. */
export class QueryFailed extends Error {
  readonly fields: ReadonlyMap<string, string>;

  constructor(fields: ReadonlyMap<string, string>) {
    super(fields.get('M') ?? 'the server refused the statement');
    this.fields = fields;
  }

  get sqlstate(): string {
    return this.fields.get('C') ?? '';
  }
}

/** Statuses that are not those of an error's kind. */
const STATUSES: Readonly<Record<string, number>> = {
  'request-too-large': 413,
  'response-too-large': 507,
  'request-timeout': 408,
};

export const responseTooLarge = (maxBytes: number): CoppiceError =>
  new CoppiceError('Invalid', 'response-too-large', `response is too large (max is ${maxBytes} bytes)`, {
    remedy: 'Ask for fewer rows at once.',
  });

export const requestTooLarge = (maxBytes: number): CoppiceError =>
  new CoppiceError('Invalid', 'request-too-large', `request is too large (max is ${maxBytes} bytes)`);

export const requestTimedOut = (ms: number): CoppiceError =>
  new CoppiceError('Invalid', 'request-timeout', `the request did not arrive within ${ms} ms`, {
    remedy: 'Send it at once.',
  });

/** For a client that is gone already, and for one that is still there when the proxy stops. */
export const queryCancelled = (): CoppiceError =>
  new CoppiceError('Malformed', 'query-cancelled', 'Query cancelled, connection was terminated', {
    sqlstate: '08P01',
  });

export interface ErrorAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, string | null>>;
}

const FIELDS: readonly (readonly [name: string, type: string])[] = [
  ['message', 'M'],
  ['code', 'C'],
  ['detail', 'D'],
  ['hint', 'H'],
  ['position', 'P'],
  ['internalPosition', 'p'],
  ['internalQuery', 'q'],
  ['severity', 'S'],
  ['where', 'W'],
  ['table', 't'],
  ['column', 'c'],
  ['schema', 's'],
  ['dataType', 'd'],
  ['constraint', 'n'],
  ['file', 'F'],
  ['line', 'L'],
  ['routine', 'R'],
];

const bodyOf = (fields: ReadonlyMap<string, string>): ErrorAnswer['body'] =>
  Object.fromEntries(FIELDS.map(([name, type]) => [name, fields.get(type) ?? null]));

export function errorAnswer(error: unknown): ErrorAnswer {
  if (error instanceof QueryFailed) return { status: 400, body: bodyOf(error.fields) };
  if (error instanceof ServerRefused)
    return { status: 400, body: bodyOf(readErrorFields(error.response.subarray(5))) };
  const known = shownOutside(isTimeout(error) ? notStarted(error) : asCoppiceError(error));
  const { http, sqlstate } = ERROR_KINDS[known.kind];
  return {
    status: STATUSES[known.code] ?? (http < 500 ? 400 : http),
    body: bodyOf(
      new Map([
        ['S', 'ERROR'],
        ['M', known.message],
        ['C', known.sqlstate ?? sqlstate],
        ...(known.remedy ? [['H', known.remedy] as const] : []),
      ]),
    ),
  };
}

const isTimeout = (error: unknown): boolean => error instanceof DOMException && error.name === 'TimeoutError';

const notStarted = (cause: unknown): CoppiceError =>
  new CoppiceError('NotYet', 'compute-not-started', 'the compute did not start in time', {
    remedy: 'Try again.',
    cause,
  });
