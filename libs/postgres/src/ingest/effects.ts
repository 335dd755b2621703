/**
 * What a WAL record does to the key space beyond "this block has this version": a closed list. The ingesting timeline
 * carries each out with what it knows (relation sizes, segments that exist, the checkpoint state).
 */
import type { RelationFork, SlruNumber } from '@coppice/vocabulary';
import type { PageValue } from '../redo/page-value';

/** `RelFileLocator`: a relation with all its forks. */
export interface RelationFile {
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
}

/** A database directory. */
export interface DatabasePlace {
  readonly tablespace: number;
  readonly database: number;
}

export type Effect =
  /** A page changes that the record has no block reference for; nothing happens when it lies beyond the fork's size. */
  | {
      readonly kind: 'change-page';
      readonly fork: RelationFork;
      readonly block: number;
      readonly value: PageValue;
    }
  | { readonly kind: 'create-fork'; readonly fork: RelationFork }
  /** The chosen forks end where heap block `blocks` would start. */
  | {
      readonly kind: 'truncate';
      readonly file: RelationFile;
      readonly blocks: number;
      readonly forks: TruncatedForks;
    }
  | { readonly kind: 'drop-relations'; readonly files: readonly RelationFile[] }
  /** A transaction committed: `micros` since 2000-01-01 UTC. */
  | { readonly kind: 'commit-time'; readonly micros: bigint }
  | { readonly kind: 'create-database'; readonly place: DatabasePlace }
  /** Every file of `from`, as it is before this record, becomes a file of `to`. */
  | { readonly kind: 'copy-database'; readonly from: DatabasePlace; readonly to: DatabasePlace }
  | { readonly kind: 'drop-database'; readonly places: readonly DatabasePlace[] }
  | { readonly kind: 'relation-map'; readonly place: DatabasePlace; readonly map: Buffer }
  /** An SLRU page becomes zeros; the segment grows to hold it. `unlessThere`: a page that exists stays as it is. */
  | {
      readonly kind: 'zero-slru-page';
      readonly slru: SlruNumber;
      readonly page: number;
      readonly unlessThere: boolean;
    }
  | {
      readonly kind: 'change-slru-page';
      readonly slru: SlruNumber;
      readonly page: number;
      readonly value: PageValue;
    }
  /** Segments wholly before the page go, in the circular order of transaction ids (pg_xact) or multixacts (offsets). */
  | { readonly kind: 'truncate-slru'; readonly slru: SlruNumber; readonly cutoffPage: number }
  /** Segments `[first, end)` go; a run whose end is before its first wraps around. */
  | {
      readonly kind: 'remove-slru-segments';
      readonly slru: SlruNumber;
      readonly first: number;
      readonly end: number;
    }
  /** `state` is the content of the two-phase file without its checksum. */
  | { readonly kind: 'prepare-transaction'; readonly xid: number; readonly state: Buffer }
  | { readonly kind: 'end-prepared'; readonly xid: number }
  /** `backward`: also to a lower position. */
  | {
      readonly kind: 'advance-origin';
      readonly origin: number;
      readonly remoteLsn: bigint;
      readonly backward: boolean;
    }
  | { readonly kind: 'drop-origin'; readonly origin: number }
  /** No content: the file goes. */
  | { readonly kind: 'put-file'; readonly path: string; readonly content: Buffer }
  /** The file is cut to `offset` and the content appended. */
  | {
      readonly kind: 'append-file';
      readonly path: string;
      readonly offset: number;
      readonly content: Buffer;
    };

export type EffectKind = Effect['kind'];
export type EffectOf<Kind extends EffectKind> = Extract<Effect, { readonly kind: Kind }>;

export interface TruncatedForks {
  readonly main: boolean;
  readonly visibilityMap: boolean;
  readonly freeSpaceMap: boolean;
}

/** Shared by all records that do nothing special: the hot path allocates nothing. */
export const NO_EFFECTS: readonly Effect[] = Object.freeze([]);
