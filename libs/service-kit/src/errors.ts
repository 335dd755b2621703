/**
 * The closed set of errors that cross a boundary. Each says who is at fault and what to do next; one table maps kinds to
 * gRPC status, HTTP status and SQLSTATE. `assert` is for our own bugs; bad input and bad disks are errors.
 */
export const ERROR_KINDS = {
  /** The thing named does not exist. */
  NotFound: { grpc: 5, http: 404, sqlstate: '08004', retry: false },
  /** The thing is in a state that forbids this. */
  Conflict: { grpc: 9, http: 409, sqlstate: '55006', retry: false },
  /** Another operation is under way on the same thing. */
  Locked: { grpc: 10, http: 423, sqlstate: '55006', retry: true },
  /** A limit of the caller is reached. */
  QuotaExceeded: { grpc: 8, http: 429, sqlstate: '53400', retry: false },
  /** It will be there later: not ingested, not started, not committed yet. */
  NotYet: { grpc: 4, http: 503, sqlstate: '57P03', retry: true },
  /** A newer term, generation or lease holder exists. */
  Fenced: { grpc: 10, http: 409, sqlstate: '57P01', retry: false },
  /** A part is down or does not answer in time. */
  Unavailable: { grpc: 14, http: 503, sqlstate: '57P03', retry: true },
  /** Stored bytes are not what was written. */
  Corrupt: { grpc: 15, http: 500, sqlstate: 'XX001', retry: false },
  /** The request is not acceptable as it stands. */
  Invalid: { grpc: 3, http: 422, sqlstate: '22023', retry: false },
  /** The body or a parameter has the wrong form. */
  Malformed: { grpc: 3, http: 400, sqlstate: '22023', retry: false },
  /** No or unusable credentials. */
  Unauthenticated: { grpc: 16, http: 401, sqlstate: '28P01', retry: false },
  /** Known, but not allowed to do this. */
  Forbidden: { grpc: 7, http: 403, sqlstate: '42501', retry: false },
  /** A bug of ours. */
  Internal: { grpc: 13, http: 500, sqlstate: 'XX000', retry: false },
} as const;

export type ErrorKind = keyof typeof ERROR_KINDS;

export interface ErrorDetails {
  /** What the reader should do next, one sentence. */
  readonly remedy?: string;
  /** What PostgreSQL itself said, where it was the one to refuse. */
  readonly sqlstate?: string;
  readonly cause?: unknown;
}

export class CoppiceError extends Error {
  readonly kind: ErrorKind;
  /** Stable, kebab-case; clients branch on it. */
  readonly code: string;
  readonly remedy: string | undefined;
  /** Of the PostgreSQL error behind it; for the kind's own, see `ERROR_KINDS`. */
  readonly sqlstate: string | undefined;

  constructor(kind: ErrorKind, code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = kind;
    this.kind = kind;
    this.code = code;
    this.remedy = details.remedy;
    this.sqlstate = details.sqlstate;
  }

  /** Whether the same request may succeed later unchanged. */
  get retryable(): boolean {
    return ERROR_KINDS[this.kind].retry;
  }

  /** Message and remedy in one text, safe for clients. */
  get clientText(): string {
    return this.remedy ? `${this.message}. ${this.remedy}` : this.message;
  }
}

/** Any thrown thing as a `CoppiceError`; what is not one is a bug of ours and becomes `Internal`. */
export function asCoppiceError(error: unknown): CoppiceError {
  if (error instanceof CoppiceError) return error;
  if (error instanceof Error && error.name === 'AbortError') {
    return new CoppiceError('Unavailable', 'cancelled', 'the request was cancelled', { cause: error });
  }
  return new CoppiceError('Internal', 'internal', error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}

/** An address that a service should listen on cannot be had. */
export function cannotListen(address: string, cause: Error): CoppiceError {
  const { code = cause.message } = cause as NodeJS.ErrnoException;
  return new CoppiceError('Unavailable', 'cannot-listen', `cannot listen on ${address} (${code})`, {
    remedy: 'Free the port or choose another.',
    cause,
  });
}

/** The error as those outside the fleet may see it: what went wrong inside, and where, is for the log alone. */
export function shownOutside(error: unknown): CoppiceError {
  const known = asCoppiceError(error);
  const { kind, code } = known;
  if (code === 'internal')
    return new CoppiceError(kind, code, 'an unexpected error', {
      remedy: 'It is in the log of the service.',
    });
  if (code === 'peer-unavailable')
    return new CoppiceError(kind, code, 'a part of the service does not answer', {
      remedy: 'Try again shortly.',
    });
  return known;
}
