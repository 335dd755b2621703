import { CoppiceError } from '@coppice/service-kit';

const MAX_KEY = 900;
const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9._=-]{0,249}$/;

/** Refuses a key that one of the stores could not hold safely: `..`, hidden or overlong names, odd characters. */
export function checkKey(key: string): void {
  if (key.length <= MAX_KEY && key.split('/').every((segment) => SEGMENT.test(segment))) return;
  throw new CoppiceError('Invalid', 'bad-object-key', `${JSON.stringify(key.slice(0, 120))} is not an object key`, {
    remedy: 'Use segments of letters, digits, "._=-" that start with a letter, digit or "_", joined by "/".',
  });
}

export function objectNotFound(key: string, cause?: unknown): CoppiceError {
  return new CoppiceError('NotFound', 'object-not-found', `object ${key} does not exist`, { cause });
}

export function objectExists(key: string, cause?: unknown): CoppiceError {
  return new CoppiceError('Conflict', 'object-exists', `object ${key} exists already`, { cause });
}

export function rangeNotSatisfiable(key: string, offset: number, cause?: unknown): CoppiceError {
  return new CoppiceError('Invalid', 'range-not-satisfiable', `object ${key} ends before byte ${offset}`, { cause });
}

export function storeUnavailable(what: string, cause: unknown): CoppiceError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new CoppiceError('Unavailable', 'object-store-unavailable', `${what}: ${why}`, {
    cause,
    remedy: 'Check that the object store is reachable and has space, then try again.',
  });
}
