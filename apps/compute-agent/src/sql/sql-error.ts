import { CoppiceError, type ErrorKind } from '@coppice/service-kit';

/** SQLSTATEs whose kind is not that of their class. */
const KINDS_OF_STATES: Readonly<Record<string, ErrorKind>> = {
  '42501': 'Forbidden',
  '42710': 'Conflict',
  '42723': 'Conflict',
  '42P04': 'Conflict',
  '42P06': 'Conflict',
  '42P07': 'Conflict',
  '2BP01': 'Conflict',
  '25006': 'Forbidden',
  '53100': 'QuotaExceeded',
  '57014': 'Unavailable',
};

/** By the class: its first two digits. What is in neither is `Invalid`. */
const KINDS_OF_CLASSES: Readonly<Record<string, ErrorKind>> = {
  '08': 'Unavailable',
  '23': 'Conflict',
  '40': 'Locked',
  '53': 'Unavailable',
  '55': 'Conflict',
  '57': 'Unavailable',
  '58': 'Unavailable',
  XX: 'Internal',
};

/** PostgreSQL's refusal of a statement, for callers: its message and SQLSTATE, and what to make of it. */
export function sqlError(
  { code, message, hint }: { code: string; message: string; hint?: string },
  statement: number,
  cause: unknown,
): CoppiceError {
  const kind = KINDS_OF_STATES[code] ?? KINDS_OF_CLASSES[code.slice(0, 2)] ?? 'Invalid';
  return new CoppiceError(kind, 'sql-error', `statement ${statement + 1}: ${message} (SQLSTATE ${code})`, {
    sqlstate: code,
    cause,
    ...(hint && { remedy: hint }),
  });
}
