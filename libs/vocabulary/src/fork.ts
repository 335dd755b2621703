/** The forks of a relation (PostgreSQL: `ForkNumber`, src/include/common/relpath.h). */
export const Fork = { main: 0, fsm: 1, vm: 2, init: 3 } as const;
export type ForkNumber = (typeof Fork)[keyof typeof Fork];

/** Suffix of a fork's file name after the relation number. */
export const forkSuffix: Record<ForkNumber, string> = { 0: '', 1: '_fsm', 2: '_vm', 3: '_init' };

/** PostgreSQL's block size; the only one supported. */
export const BLOCK_SIZE = 8192;
/** Blocks in one 1 GiB segment file of a relation (`RELSEG_SIZE`). */
export const BLOCKS_PER_SEGMENT = 131072;
/** Tablespace OIDs with a fixed place on disk (src/include/catalog/pg_tablespace.dat). */
export const DEFAULT_TABLESPACE = 1663;
export const GLOBAL_TABLESPACE = 1664;

/** Names one fork of one relation: `RelFileLocator` and fork number. */
export interface RelationFork {
  /** Tablespace OID (`spcOid`). */
  readonly tablespace: number;
  /** Database OID (`dbOid`); 0 for shared relations. */
  readonly database: number;
  /** Relation file number (`relNumber`). */
  readonly relation: number;
  readonly fork: ForkNumber;
}
