/** The small parts of requests: texts with bounds, times, positions, numbers. */
import { z } from 'zod';
import { parseTimestamp } from '@coppice/vocabulary';

/** NUL and lone surrogates. */
const UNSTORABLE = /[\u0000\p{Surrogate}]/u;

export const text = (most: number, least = 0) =>
  z
    .string()
    .min(least)
    .max(most)
    .refine((s) => !UNSTORABLE.test(s), 'holds characters that cannot be stored');

export const name = text(256, 1);
export const pathId = text(60);
/** The name of a role or database. */
export const identifier = text(63, 1);

export const integer = (least: number, most: number) => z.int().min(least).max(most);

/** Query parameters arrive as text. */
export const queryInteger = (least: number, most: number) =>
  z
    .string()
    .regex(/^-?\d{1,10}$/, 'must be an integer')
    .transform(Number)
    .pipe(integer(least, most));

export const queryBoolean = z.enum(['true', 'false']).transform((s) => s === 'true');

/** A list in a query: repeated, or separated by commas. */
export const queryList = <T extends string>(item: z.ZodType<T, string>, most: number) =>
  z
    .union([z.string(), z.array(z.string()).max(most)])
    .transform((given) =>
      [given]
        .flat()
        .flatMap((s) => s.split(','))
        .filter((s) => s !== ''),
    )
    .pipe(z.array(item).max(most));

export const lsn = z
  .string()
  .regex(/^[a-fA-F0-9]{1,8}\/[a-fA-F0-9]{1,8}$/, 'must be an LSN such as 16/B374D848');

export const dateTime = z
  .string()
  .max(64)
  .refine((s) => parseTimestamp(s) !== undefined, 'must be an RFC 3339 time such as 2026-01-31T12:00:00Z')
  .meta({ format: 'date-time' });

export const computeUnits = z.number().min(0.25).max(16);
export const suspendTimeout = integer(-1, 604_800);

/** What is passed through or looked at elsewhere. */
export const anything = z.record(z.string(), z.unknown());
export const textMap = z.record(text(63, 1), text(255));

export const cursor = text(1024);
export const page = (most: number) =>
  z.strictObject({ cursor: cursor.optional(), limit: queryInteger(1, most).optional() });

/** In answers. */
export const when = z.string().meta({ format: 'date-time' });
export const count = z.int();
export const pagination = z.object({ cursor: z.string() }).optional();

export const projectPath = z.object({ project_id: pathId });
export const branchPath = projectPath.extend({ branch_id: pathId });

export const errorResponse = z.object({ request_id: z.string(), code: z.string(), message: z.string() });
