import { CoppiceError } from '@coppice/service-kit';
import { createTwoFilesPatch, FILE_HEADERS_ONLY } from 'diff';

const MAX_CHARACTERS = 64 * 1024 * 1024;
/** Other requests wait meanwhile. */
const TIMEOUT_MS = 2_000;
const CONTEXT_LINES = 3;

/** What the two sides are called in the heading of the difference. */
export interface ComparedNames {
  readonly base: string;
  readonly changed: string;
}

/** How the SQL of one schema becomes another's, as a unified difference; empty when they are the same. */
export function compareSchemas(
  base: string,
  changed: string,
  names: ComparedNames,
): { readonly diff: string } {
  if (base === changed) return { diff: '' };
  if (base.length + changed.length > MAX_CHARACTERS)
    throw tooDifferent(`they have more than ${MAX_CHARACTERS} characters`);
  const diff = createTwoFilesPatch(
    `a/${names.base}`,
    `b/${names.changed}`,
    base,
    changed,
    undefined,
    undefined,
    {
      context: CONTEXT_LINES,
      timeout: TIMEOUT_MS,
      headerOptions: FILE_HEADERS_ONLY,
    },
  );
  if (diff === undefined) throw tooDifferent(`their difference was not found within ${TIMEOUT_MS} ms`);
  return { diff };
}

function tooDifferent(why: string): CoppiceError {
  return new CoppiceError(
    'QuotaExceeded',
    'schemas-too-different',
    `the schemas cannot be compared: ${why}`,
    {
      remedy: 'Read both as SQL and compare them with a tool of your own.',
    },
  );
}
