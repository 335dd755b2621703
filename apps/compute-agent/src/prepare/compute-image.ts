/**
 * What a compute starting at S lays out before PostgreSQL runs, gathered from the pageserver's stream. Of relations and
 * their pages it has those that the start will probably want; the others come when they are first touched.
 */
import type { CheckpointFields, ComputeImagePart, RelationsPart } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import type { ForkNumber, Lsn, PageKey, RelationFork } from '@coppice/vocabulary';
import { formatLsn } from '@coppice/vocabulary';

export interface RelationSize extends RelationFork {
  readonly blocks: number;
}

/** Relations with all their forks. */
export interface RelationsAtStart {
  readonly relations: readonly RelationSize[];
  /** Unlogged relations, with the whole content of their init fork. */
  readonly initForks: readonly { readonly tablespace: number; readonly database: number; readonly relation: number; readonly pages: Buffer }[];
}

export interface ComputeImage extends RelationsAtStart {
  readonly lsn: Lsn;
  /** Start of the last record before `lsn`; `undefined` where the timeline's own WAL begins. */
  readonly previousRecordLsn: Lsn | undefined;
  readonly systemIdentifier: bigint;
  readonly checkpoint: CheckpointFields;
  /** Tablespace 1664 with database 0 is `global/`. */
  readonly databases: readonly { readonly tablespace: number; readonly database: number; readonly relationMap: Buffer }[];
  /** Blocks of the main forks of all relations, in the image or not. */
  readonly logicalBlocks: number;
  /** Finding out costs a look at all relations, which a start does not wait for. */
  readonly logicalIsEstimate: boolean;
  readonly slruSegments: readonly { readonly slru: number; readonly segment: number; readonly pages: number }[];
  readonly files: readonly { readonly path: string; readonly content: Buffer }[];
  readonly origins: readonly { readonly originId: number; readonly remoteLsn: Lsn }[];
  readonly warmPages: readonly { readonly key: PageKey; readonly page: Buffer }[];
}

type Growing<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };
type Lists = Growing<Omit<ComputeImage, 'lsn' | 'previousRecordLsn' | 'systemIdentifier' | 'checkpoint' | 'logicalBlocks' | 'logicalIsEstimate'>>;

/** Gathers the parts of an image. Throws when the header is missing or is for another position than `expected`. */
export async function collectImage(parts: AsyncIterable<ComputeImagePart> | Iterable<ComputeImagePart>, expected: Lsn): Promise<ComputeImage> {
  let header: Extract<ComputeImagePart, { kind: 'header' }>['value'] | undefined;
  const lists: Lists = {
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
  return { ...header, previousRecordLsn: header.previousRecordLsn, ...lists };
}

/** Relations out of the pageserver's stream. */
export async function collectRelations(parts: AsyncIterable<RelationsPart>): Promise<RelationsAtStart> {
  const lists: Growing<RelationsAtStart> = { relations: [], initForks: [] };
  for await (const part of parts) addRelations(lists, part);
  return lists;
}

/** The highest number of a relation in the stream; 0 when there is none. */
export async function highestRelation(parts: AsyncIterable<RelationsPart>): Promise<number> {
  let highest = 0;
  for await (const part of parts) if (part.kind === 'relations') for (const relation of part.value.relation) highest = Math.max(highest, relation);
  return highest;
}

function addRelations(lists: Growing<RelationsAtStart>, part: RelationsPart): void {
  if (part.kind === 'initFork') {
    lists.initForks.push(part.value);
    return;
  }
  const { tablespace, database, relation, fork, blocks } = part.value;
  sameLength('relations', [tablespace, database, relation, fork, blocks]);
  blocks.forEach((count, i) =>
    lists.relations.push({ tablespace: tablespace[i]!, database: database[i]!, relation: relation[i]!, fork: fork[i]! as ForkNumber, blocks: count }),
  );
}

function addPart(lists: Lists, part: Exclude<ComputeImagePart, { kind: 'header' }>): void {
  switch (part.kind) {
    case 'database':
      lists.databases.push(part.value);
      break;
    case 'relations':
    case 'initFork':
      addRelations(lists, part);
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
