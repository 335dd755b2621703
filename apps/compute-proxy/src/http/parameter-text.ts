/**
 * Query parameters as they come in JSON, as PostgreSQL reads them: a string stands for itself, `null` for NULL, an array becomes
 * an array literal whose strings are quoted, all else its JSON text.
 */
import { CoppiceError } from '@coppice/service-kit';

/** PostgreSQL's arrays have six dimensions at most; objects in JSON go deeper. */
export const MAX_DEPTH = 128;

export function parameterText(value: unknown, name: string): string | null {
  checkValue(value, name, 0);
  if (value === null) return null;
  if (typeof value === 'string') return value;
  return Array.isArray(value) ? arrayLiteral(value) : JSON.stringify(value);
}

/** An element of an array literal. JSON's quoting of strings is PostgreSQL's as well, but for control characters. */
function elementText(value: unknown): string {
  if (value === null) return 'NULL';
  if (Array.isArray(value)) return arrayLiteral(value);
  if (typeof value === 'object') return quoted(JSON.stringify(value));
  return typeof value === 'string' ? quoted(value) : String(value);
}

const arrayLiteral = (values: readonly unknown[]): string => `{${values.map(elementText).join(',')}}`;
const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

function checkValue(value: unknown, name: string, depth: number): void {
  if (typeof value === 'number') return checkNumber(value, name);
  if (typeof value !== 'object' || value === null) return;
  if (depth === MAX_DEPTH)
    throw new CoppiceError(
      'Malformed',
      'nested-too-deep',
      `${name} is nested deeper than ${MAX_DEPTH} levels`,
      {
        remedy: 'Send it as JSON text in a string.',
      },
    );
  for (const inner of Array.isArray(value) ? value : Object.values(value)) checkValue(inner, name, depth + 1);
}

/** A 64-bit integer is read from JSON with other last digits than it was written with. */
function checkNumber(value: number, name: string): void {
  if (!Number.isInteger(value) || Number.isSafeInteger(value) || Math.abs(value) >= 2 ** 64) return;
  throw new CoppiceError('Malformed', 'number-not-exact', `${name} holds an integer beyond 2^53`, {
    remedy: 'Send it as a string.',
  });
}
