/** What names and numbers may be. One place, so that every door refuses the same things with the same words. */
import { CoppiceError } from '@coppice/service-kit';

/** PostgreSQL 17 is the major that runs; others are refused by name. */
export const PG_VERSION = 17;
const MAX_NAME = 256;
/** PostgreSQL's NAMEDATALEN less its terminator, bytes. */
const MAX_IDENTIFIER_BYTES = 63;
const MAX_SUSPEND_SECONDS = 604_800;
const MAX_RETENTION_SECONDS = 2_592_000;
export const DEFAULT_RETENTION_SECONDS = 86_400;
const MIN_COMPUTE_UNITS = 0.25;
const MAX_COMPUTE_UNITS = 16;

const CONTROL = /[\u0000-\u001f\u007f]/;

function invalid(code: string, message: string, remedy: string): CoppiceError {
  return new CoppiceError('Invalid', code, message, { remedy });
}

/** Characters that PostgreSQL text cannot hold, or that mean nothing. */
const UNSTORABLE = /[\u0000\p{Surrogate}]/u;

/** What lists are searched for. */
export function checkSearch(text: string): string {
  if (text.length <= MAX_NAME && !UNSTORABLE.test(text)) return text;
  throw new CoppiceError(
    'Malformed',
    'bad-search',
    'the search text is too long or holds characters that no name can hold',
    { remedy: `Use up to ${MAX_NAME} plain characters.` },
  );
}

/** The name of a project or branch. */
export function checkName(what: string, name: string): string {
  const length = [...name].length;
  if (length > MAX_NAME)
    throw invalid('name-too-long', `the ${what} name has ${length} characters`, `Use at most ${MAX_NAME}.`);
  if (CONTROL.test(name) || UNSTORABLE.test(name))
    throw invalid('bad-name', `the ${what} name holds control characters`, 'Leave them out.');
  if (name !== name.trim())
    throw invalid('bad-name', `the ${what} name begins or ends with space`, 'Leave the space out.');
  return name;
}

/** The name of a role or database inside Postgres. */
export function checkIdentifier(what: string, name: string): string {
  const bytes = Buffer.byteLength(name);
  if (bytes > MAX_IDENTIFIER_BYTES)
    throw invalid(
      'name-too-long',
      `the ${what} name has ${bytes} bytes`,
      `Use at most ${MAX_IDENTIFIER_BYTES}.`,
    );
  if (name === '' || CONTROL.test(name) || UNSTORABLE.test(name))
    throw invalid(
      'bad-name',
      `the ${what} name is empty or holds control characters`,
      'Use printable characters.',
    );
  return name;
}

const RESERVED_ROLES = new Set([
  'public',
  'none',
  'current_user',
  'session_user',
  'current_role',
  'postgres',
]);
const RESERVED_DATABASES = new Set(['postgres', 'template0', 'template1']);

export function checkRoleName(name: string): string {
  checkIdentifier('role', name);
  if (/^(pg|coppice)_/.test(name) || RESERVED_ROLES.has(name))
    throw invalid('reserved-name', `the role name "${name}" is reserved`, 'Choose another name.');
  return name;
}

export function checkDatabaseName(name: string): string {
  checkIdentifier('database', name);
  if (RESERVED_DATABASES.has(name))
    throw invalid('reserved-name', `the database name "${name}" is reserved`, 'Choose another name.');
  return name;
}

/** Seconds without activity until suspend: -1 never, 0 the default. */
export function checkSuspendTimeout(seconds: number): number {
  if (Number.isInteger(seconds) && seconds >= -1 && seconds <= MAX_SUSPEND_SECONDS) return seconds;
  throw invalid(
    'bad-suspend-timeout',
    `suspend_timeout_seconds is ${seconds}`,
    `Use -1 (never), 0 (default) or up to ${MAX_SUSPEND_SECONDS}.`,
  );
}

export function checkRetention(seconds: number): number {
  if (Number.isInteger(seconds) && seconds >= 0 && seconds <= MAX_RETENTION_SECONDS) return seconds;
  throw invalid(
    'bad-history-retention',
    `history_retention_seconds is ${seconds}`,
    `Use 0 to ${MAX_RETENTION_SECONDS}.`,
  );
}

/** The sizes between which a compute may be scaled; 0 stands for the default. */
export function checkComputeUnits(min: number, max: number): { min: number; max: number } {
  const chosen = {
    min: min || Math.min(MIN_COMPUTE_UNITS, max || MIN_COMPUTE_UNITS),
    max: max || Math.max(1, min),
  };
  for (const value of [chosen.min, chosen.max]) {
    if (value < MIN_COMPUTE_UNITS || value > MAX_COMPUTE_UNITS || (value * 4) % 1 !== 0) {
      throw invalid(
        'bad-compute-size',
        `a compute of ${value} CU is not offered`,
        `Use ${MIN_COMPUTE_UNITS} to ${MAX_COMPUTE_UNITS} in steps of 0.25.`,
      );
    }
  }
  if (chosen.min > chosen.max)
    throw invalid(
      'bad-compute-size',
      `the smallest size ${chosen.min} CU is above the largest, ${chosen.max} CU`,
      'Swap them.',
    );
  return chosen;
}

export function checkPgVersion(version: number): number {
  if (version === 0 || version === PG_VERSION) return PG_VERSION;
  throw invalid(
    'unsupported-pg-version',
    `PostgreSQL ${version} is not offered`,
    `Use ${PG_VERSION}, or leave pg_version out.`,
  );
}
