/** Errors as REST clients see them: `{request_id, code, message}`; the message ends with what to do next. */
import { CoppiceError, ERROR_KINDS, shownOutside } from '@coppice/service-kit';
import { z } from 'zod';

export interface RestError {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}

/** A failure of Fastify itself (unreadable URL, oversized body, …). */
function frameworkError(error: unknown): CoppiceError | undefined {
  const { statusCode, code, message } = error as { statusCode?: number; code?: string; message?: string };
  if (statusCode === undefined || statusCode < 400 || statusCode >= 500) return undefined;
  if (statusCode === 413)
    return new CoppiceError('Malformed', 'body-too-large', 'the request body is too large', {
      remedy: `Send at most ${MAX_BODY_BYTES} bytes.`,
    });
  return new CoppiceError(
    'Malformed',
    'bad-request',
    (code ?? message ?? 'the request cannot be read').slice(0, 200),
  );
}

/** Largest request body, bytes: the largest sensible request is a hundred times smaller. */
export const MAX_BODY_BYTES = 1024 * 1024;

export function restError(error: unknown): RestError {
  const known = shownOutside(error instanceof CoppiceError ? error : (frameworkError(error) ?? error));
  const internal = known.kind === 'Internal';
  return {
    status: known.code === 'body-too-large' ? 413 : ERROR_KINDS[known.kind].http,
    code: known.code,
    message: internal ? 'an unexpected error; it is logged under this request id' : known.clientText,
    retryable: known.retryable,
  };
}

/** The first problem of a request, with the value that is meant and the bound it breaks. */
export function invalidRequest(part: string, error: z.ZodError): CoppiceError {
  const [issue] = error.issues;
  const path = [part, ...(issue?.path ?? [])].join('.');
  return new CoppiceError('Malformed', 'invalid-request', `${path}: ${issue?.message ?? 'not acceptable'}`, {
    remedy: 'The accepted form is in /api/v2/openapi.json.',
  });
}

const BROKEN: Readonly<Record<string, readonly [status: string, code: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: [
    '431 Request Header Fields Too Large',
    'headers-too-large',
    'the address and headers are too large. Send at most 16 kB.',
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [
    '408 Request Timeout',
    'request-timeout',
    'the request did not arrive in time. Send it at once.',
  ],
};

/** What a connection is answered, with its head, whose request cannot be read as HTTP. */
export function unreadable(code: string | undefined, requestId: string): string {
  const [status, stable, message] = BROKEN[code ?? ''] ?? [
    '400 Bad Request',
    'bad-request',
    'the request is not HTTP. See /api/v2/docs.',
  ];
  const body = JSON.stringify({ request_id: requestId, code: stable, message });
  return [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${requestId}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}
