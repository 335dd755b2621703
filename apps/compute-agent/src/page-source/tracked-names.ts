/**
 * File names that the interposer tracks, and the page keys of their blocks.
 *
 *   base/<database>/<relation>[_fsm|_vm|_init][.<segment>]     relation block   segment × 131072 + block
 *   global/<relation>…                                         (as above, shared)
 *   pg_xact/<SEGMENT>   pg_multixact/{offsets,members}/<SEGMENT>   SLRU page    segment × 32 + block
 */
import {
  BLOCKS_PER_SEGMENT,
  DEFAULT_TABLESPACE,
  type ForkNumber,
  GLOBAL_TABLESPACE,
  KeyKind,
  keyPrefix,
  type RelationFork,
  Slru,
  SLRU_PAGES_PER_SEGMENT,
  type SlruNumber,
  forkSuffix,
  relationBlockPrefix,
} from '@coppice/vocabulary';

/** Where a file's blocks are in the key space: block `n` has the key `keyOf(prefix, firstBlock + n)`. */
export interface BlockRange {
  readonly prefix: string;
  readonly firstBlock: number;
  /** Whole blocks that one such file can have. */
  readonly maxBlocks: number;
  /** Whether the file is of a relation's main fork, and so counts as a user's data. */
  readonly relation: boolean;
}

/** One 1 GiB segment file of a relation fork. */
export interface RelationFile extends RelationFork {
  readonly segment: number;
}

const RELATION = /^(?:base\/(\d{1,10})|global)\/(\d{1,10})(_fsm|_vm|_init)?(?:\.([1-9]\d{0,4}))?$/;
const SLRU = /^(pg_xact|pg_multixact\/offsets|pg_multixact\/members)\/([0-9A-F]{4,8})$/;
const slruDirectory: Record<SlruNumber, string> = {
  [Slru.xact]: 'pg_xact',
  [Slru.multixactOffsets]: 'pg_multixact/offsets',
  [Slru.multixactMembers]: 'pg_multixact/members',
};

/** The blocks of the named file; `undefined` when such a file is not tracked (maps, temporary relations, WAL …). */
export function blockRangeOf(name: string): BlockRange | undefined {
  const relation = RELATION.exec(name);
  if (relation) return relationRange(relation);
  const slru = SLRU.exec(name);
  if (!slru) return undefined;
  const number = ([Slru.xact, Slru.multixactOffsets, Slru.multixactMembers] as const).find(
    (n) => slruDirectory[n] === slru[1],
  );
  const firstBlock = parseInt(slru[2] as string, 16) * SLRU_PAGES_PER_SEGMENT;
  if (number === undefined || firstBlock > 0xffffffff) return undefined;
  return {
    prefix: keyPrefix(KeyKind.slruPage, number, 0, 0, 0),
    firstBlock,
    maxBlocks: SLRU_PAGES_PER_SEGMENT,
    relation: false,
  };
}

function relationRange([, database, relation, suffix, segment]: RegExpExecArray): BlockRange | undefined {
  const fork = ([0, 1, 2, 3] as const).find((n) => forkSuffix[n] === (suffix ?? '')) as ForkNumber;
  const named = { database: Number(database ?? 0), relation: Number(relation) };
  const firstBlock = Number(segment ?? 0) * BLOCKS_PER_SEGMENT;
  if (named.database > 0xffffffff || named.relation > 0xffffffff || firstBlock > 0xffffffff) return undefined;
  const tablespace = database === undefined ? GLOBAL_TABLESPACE : DEFAULT_TABLESPACE;
  return {
    prefix: relationBlockPrefix({ tablespace, ...named, fork }),
    firstBlock,
    maxBlocks: BLOCKS_PER_SEGMENT,
    relation: fork === 0,
  };
}

/** Name of one 1 GiB segment file of a relation fork, relative to the data directory. */
export function relationFileName(relation: RelationFork, segment: number): string {
  const directory = relation.tablespace === GLOBAL_TABLESPACE ? 'global' : `base/${relation.database}`;
  return `${directory}/${relation.relation}${forkSuffix[relation.fork]}${segment === 0 ? '' : `.${segment}`}`;
}

/** Name of one SLRU segment file, relative to the data directory. */
export function slruFileName(slru: SlruNumber, segment: number): string {
  return `${slruDirectory[slru]}/${segment.toString(16).toUpperCase().padStart(4, '0')}`;
}
