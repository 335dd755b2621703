/**
 * Everything that a compute starting at S lays out before PostgreSQL runs, gathered from the pageserver's stream. Pages
 * are not in it (but for init forks and the warm set): they are fetched when first touched.
 */
import type { CheckpointFields, ComputeImagePart } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import type { ForkNumber, Lsn, PageKey, RelationFork } from '@coppice/vocabulary';
import { formatLsn } from '@coppice/vocabulary';

export interface RelationSize extends RelationFork {
  readonly blocks: number;
}

export interface ComputeImage {
  readonly lsn: Lsn;
  /** Start of the last record before `lsn`; `undefined` where the timeline's own WAL begins. */
  readonly previousRecordLsn: Lsn | undefined;
  readonly systemIdentifier: bigint;
  readonly checkpoint: CheckpointFields;
  /** Tablespace 1664 with database 0 is `global/`. */
  readonly databases: readonly { readonly tablespace: number; readonly database: number; readonly relationMap: Buffer }[];
  readonly relations: readonly RelationSize[];
  /** Unlogged relations, with the whole content of their init fork. */
  readonly initForks: readonly { readonly tablespace: number; readonly database: number; readonly relation: number; readonly pages: Buffer }[];
  readonly slruSegments: readonly { readonly slru: number; readonly segment: number; readonly pages: number }[];
  readonly files: readonly { readonly path: string; readonly content: Buffer }[];
  readonly origins: readonly { readonly originId: number; readonly remoteLsn: Lsn }[];
  readonly warmPages: readonly { readonly key: PageKey; readonly page: Buffer }[];
}

type Growing<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };

/** Gathers the parts of an image. Throws when the header is missing or is for another position than `expected`. */
export async function collectImage(parts: AsyncIterable<ComputeImagePart> | Iterable<ComputeImagePart>, expected: Lsn): Promise<ComputeImage> {
  let header: Extract<ComputeImagePart, { kind: 'header' }>['value'] | undefined;
  const lists: Growing<Omit<ComputeImage, 'lsn' | 'previousRecordLsn' | 'systemIdentifier' | 'checkpoint'>> = {
    databases: [], relations: [], initForks: [], slruSegments: [], files: [], origins: [], warmPages: [],
  };
  for await (const part of parts) {
    if (part.kind === 'header') header = part.value;
    else addPart(lists, part);
  }
  if (!header) throw new CoppiceError('Corrupt', 'bad-compute-image', 'the compute image came without its header');
  if (header.lsn !== expected) {
    throw new CoppiceError('Conflict', 'image-at-other-lsn', `the compute image is of ${formatLsn(header.lsn)}, the election gave ${formatLsn(expected)}`, {
      remedy: 'Start the compute again: it elects anew.',
    });
  }
  return { lsn: header.lsn, previousRecordLsn: header.previousRecordLsn, systemIdentifier: header.systemIdentifier, checkpoint: header.checkpoint, ...lists };
}

function addPart(
  lists: Growing<Omit<ComputeImage, 'lsn' | 'previousRecordLsn' | 'systemIdentifier' | 'checkpoint'>>,
  part: Exclude<ComputeImagePart, { kind: 'header' }>,
): void {
  switch (part.kind) {
    case 'database':
      lists.databases.push(part.value);
      break;
    case 'relations': {
      const { tablespace, database, relation, fork, blocks } = part.value;
      sameLength('relations', [tablespace, database, relation, fork, blocks]);
      blocks.forEach((count, i) =>
        lists.relations.push({ tablespace: tablespace[i]!, database: database[i]!, relation: relation[i]!, fork: fork[i]! as ForkNumber, blocks: count }),
      );
      break;
    }
    case 'initFork':
      lists.initForks.push(part.value);
      break;
    case 'slruSegments': {
      const { slru, segment, pages } = part.value;
      sameLength('slru segments', [slru, segment, pages]);
      pages.forEach((count, i) => lists.slruSegments.push({ slru: slru[i]!, segment: segment[i]!, pages: count }));
      break;
    }
    case 'file':
      lists.files.push(part.value);
      break;
    case 'origin':
      lists.origins.push(part.value);
      break;
    case 'warmPages': {
      const { keys, pages } = part.value;
      sameLength('warm pages', [keys, pages]);
      keys.forEach((key, i) => lists.warmPages.push({ key, page: pages[i]! }));
      break;
    }
  }
}

function sameLength(what: string, lists: readonly (readonly unknown[])[]): void {
  if (lists.every((l) => l.length === lists[0]!.length)) return;
  throw new CoppiceError('Corrupt', 'bad-compute-image', `the compute image lists ${what} in columns of unlike length`);
}
