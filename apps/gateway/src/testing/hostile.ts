/** Hostile values, and requests made of them along a schema, so that they get past the first check. */
import fc from 'fast-check';
import { z } from 'zod';

export const hostileText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.constantFrom(
    '',
    '\u0000',
    '\ud800',
    "'; drop table projects; --",
    '..',
    '../../etc/passwd',
    '..%2f..',
    '%2e%2e',
    '%00',
    '__proto__',
    'constructor',
    '${jndi:ldap://x}',
    '\r\nx-injected: 1',
    '\u202eright-to-left',
    'x'.repeat(5_000),
    '𝕏'.repeat(200),
  ),
);

const hostileValue = fc.oneof(
  hostileText,
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(-1, 0, 1.5, 2 ** 53, -(2 ** 63), 1e308, null, [], {}, Array(2_000).fill('x')),
);

/** Texts that are right in some place. */
const plausibleText = fc.constantFrom(
  'a',
  'main',
  'neondb',
  'neondb_owner',
  'pg_catalog',
  '0/0',
  '0/1',
  '0/1500000',
  'FFFFFFFF/FFFFFFFF',
  '1970-01-01T00:00:00Z',
  '2026-01-01T00:00:00+14:00',
  '9999-12-31T23:59:59.999999Z',
  'br-no-such-1',
  '^parent',
  'org-coppice',
);

interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
}

/** Values that mostly fit a schema. */
export function along(schema: z.ZodType): fc.Arbitrary<unknown> {
  return arbitraryOf(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Schema);
}

function arbitraryOf(schema: Schema): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 8, arbitrary: fitting(schema) }, { weight: 1, arbitrary: hostileValue });
}

function fitting(s: Schema): fc.Arbitrary<unknown> {
  if (s.const !== undefined) return fc.constant(s.const);
  if (s.enum) return fc.constantFrom(...s.enum);
  const choices = s.anyOf ?? s.oneOf;
  if (choices) return fc.oneof(...choices.map(fitting));
  switch (s.type) {
    case 'string':
      return fc.oneof(plausibleText, hostileText);
    case 'integer':
      return fc.integer({
        min: Math.max(-(2 ** 31), s.minimum ?? 0),
        max: Math.min(2 ** 31, s.maximum ?? 100),
      });
    case 'number':
      return fc.double({ min: s.minimum ?? 0, max: s.maximum ?? 100, noNaN: true });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(arbitraryOf(s.items ?? {}), { maxLength: 12 });
    case 'object':
      return fc.record(
        Object.fromEntries(Object.entries(s.properties ?? {}).map(([name, of]) => [name, arbitraryOf(of)])),
        { requiredKeys: [...(s.required ?? [])] },
      );
    default:
      return hostileValue;
  }
}

/** As a part of a path or a query: what no URL can hold is replaced. */
export function inUrl(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return encodeURIComponent(text.replace(/\p{Surrogate}/gu, '?'));
}
