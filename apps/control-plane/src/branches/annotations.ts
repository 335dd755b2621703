import { CoppiceError } from '@coppice/service-kit';

const MAX_PAIRS = 50;
const MAX_KEY = 63;
const MAX_VALUE = 255;
/** Characters that PostgreSQL's text and JSON cannot hold. */
const UNSTORABLE = /[\u0000\p{Surrogate}]/u;

/** Notes of a client on a branch: a few short pairs of text. */
export function checkAnnotations(pairs: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(pairs);
  if (entries.length > MAX_PAIRS)
    throw invalid(`there are ${entries.length} annotations`, `Use at most ${MAX_PAIRS}.`);
  for (const [key, value] of entries) {
    if (key === '' || key.length > MAX_KEY || UNSTORABLE.test(key))
      throw invalid(
        `the annotation key ${JSON.stringify(key.slice(0, 40))} has ${key.length} characters or unusable ones`,
        `Use 1 to ${MAX_KEY} plain characters.`,
      );
    if (value.length > MAX_VALUE || UNSTORABLE.test(value))
      throw invalid(
        `the annotation ${JSON.stringify(key)} has ${value.length} characters or unusable ones`,
        `Use at most ${MAX_VALUE} plain characters.`,
      );
  }
  return pairs;
}

function invalid(message: string, remedy: string): CoppiceError {
  return new CoppiceError('Invalid', 'bad-annotation', message, { remedy });
}
