/** What a compute names because its start will probably touch it: of that, what exists. */
import type { ComputeImagePart } from '@coppice/contracts';
import { MAX_WANTED_KEYS } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { KeyKind, formatPageKey, pageKeyFields, relationOfKey } from '@coppice/vocabulary';
import type { LsnNumber, PageKey } from '@coppice/vocabulary';
import type { TimelineView } from '../ingest/ingest-target';
import { namedRelations, type RelationName } from './relations';

/** Reads those of the pages that exist; in the order of the keys. */
export type ReadExisting = (keys: readonly PageKey[]) => Promise<(Buffer | undefined)[]>;

/** Pages in one part. */
const BATCH = 64;

export async function* wantedParts(
  view: TimelineView,
  wanted: readonly PageKey[],
  lsn: LsnNumber,
  read: ReadExisting,
): AsyncGenerator<ComputeImagePart> {
  const { relations, pages } = sorted(wanted);
  yield* namedRelations(view, relations, lsn);
  const found = await read(pages);
  const existing = pages.flatMap((key, i) => (found[i] ? [{ key, page: found[i] }] : []));
  for (let at = 0; at < existing.length; at += BATCH) {
    const part = existing.slice(at, at + BATCH);
    yield {
      kind: 'warmPages',
      value: { keys: part.map(({ key }) => key), pages: part.map(({ page }) => page) },
    };
  }
}

/** The relations that the keys are of, each once, and the pages. Throws for keys of other things. */
function sorted(wanted: readonly PageKey[]): { relations: RelationName[]; pages: PageKey[] } {
  if (wanted.length > MAX_WANTED_KEYS) {
    throw new CoppiceError('Invalid', 'bad-key-count', `an image is asked for with ${wanted.length} keys`, {
      remedy: `Name at most ${MAX_WANTED_KEYS} keys.`,
    });
  }
  const relations = new Map<string, RelationName>();
  const pages: PageKey[] = [];
  for (const key of wanted) {
    const { kind } = pageKeyFields(key);
    if (kind !== KeyKind.relationBlock && kind !== KeyKind.relationSize && kind !== KeyKind.slruPage) {
      throw new CoppiceError(
        'Invalid',
        'not-wanted',
        `${formatPageKey(key)} is neither a page nor a relation`,
        { remedy: 'Name relation blocks, SLRU pages and relation sizes only.' },
      );
    }
    if (kind !== KeyKind.relationSize) pages.push(key);
    if (kind === KeyKind.slruPage) continue;
    const { tablespace, database, relation } = relationOfKey(key);
    relations.set(`${tablespace}/${database}/${relation}`, { tablespace, database, relation });
  }
  return { relations: [...relations.values()], pages };
}
