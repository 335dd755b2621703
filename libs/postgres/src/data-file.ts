/**
 * What each file of a data directory is to the key space:
 *
 *   base/<db>/<relation>[_fsm|_vm|_init][.<segment>]   blocks       global/<relation>…           blocks of shared relations
 *   base/<db>/PG_VERSION                               a database   <any>/pg_filenode.map        relation map
 *   pg_xact/<hex>, pg_multixact/{offsets,members}/<hex>  SLRU segments
 *   pg_twophase/<16 hex>                               prepared     pg_logical/replorigin_checkpoint   origins
 *   global/pg_control                                  checkpoint state
 *
 * Left out: what is made anew at every start, caches, statistics, settings, WAL.
 */
import { DEFAULT_TABLESPACE, Fork, GLOBAL_TABLESPACE, Slru } from '@coppice/vocabulary';
import type { ForkNumber, RelationFork, SlruNumber } from '@coppice/vocabulary';

export type DataFile =
  | { readonly kind: 'relation'; readonly fork: RelationFork; readonly segment: number }
  | { readonly kind: 'slru'; readonly slru: SlruNumber; readonly segment: number }
  | { readonly kind: 'database'; readonly tablespace: number; readonly database: number }
  | { readonly kind: 'relation-map'; readonly tablespace: number; readonly database: number }
  | { readonly kind: 'two-phase'; readonly fullXid: bigint }
  | { readonly kind: 'origins' }
  | { readonly kind: 'control' }
  | { readonly kind: 'version' }
  | { readonly kind: 'left-out' };

const FORK_OF_SUFFIX: Readonly<Record<string, ForkNumber>> = { fsm: Fork.fsm, vm: Fork.vm, init: Fork.init };
const SLRU_OF_DIRECTORY: Readonly<Record<string, SlruNumber>> = {
  pg_xact: Slru.xact,
  'pg_multixact/offsets': Slru.multixactOffsets,
  'pg_multixact/members': Slru.multixactMembers,
};

const IN_DATABASE = /^(?:global|base\/(\d+))\/([^/]+)$/;
const RELATION = /^(\d+)(?:_(fsm|vm|init))?(?:\.(\d+))?$/;
const TEMPORARY_RELATION = /^t\d+_\d+(?:_(?:fsm|vm))?(?:\.\d+)?$/;
const SLRU_SEGMENT = /^(pg_xact|pg_multixact\/offsets|pg_multixact\/members)\/([0-9A-F]{4,6})$/;
const TWO_PHASE = /^pg_twophase\/([0-9A-F]{16})$/;
const LEFT_OUT = [
  /^pg_(?:wal|subtrans|notify|serial|snapshots|stat|stat_tmp|dynshmem|commit_ts|replslot|logical)\//,
  /^(?:postgresql|postgresql\.auto|pg_hba|pg_ident)\.conf$/,
  /^postmaster\.(?:pid|opts)$/,
  /^current_logfiles$/,
  /^base\/pgsql_tmp\//,
];

/** Undefined when the file is nothing that PostgreSQL 17 keeps in a data directory with one tablespace. */
export function dataFileOf(path: string): DataFile | undefined {
  if (path === 'PG_VERSION') return { kind: 'version' };
  if (path === 'global/pg_control') return { kind: 'control' };
  if (path === 'pg_logical/replorigin_checkpoint') return { kind: 'origins' };
  const slru = SLRU_SEGMENT.exec(path);
  if (slru) return { kind: 'slru', slru: SLRU_OF_DIRECTORY[slru[1]!]!, segment: parseInt(slru[2]!, 16) };
  const twoPhase = TWO_PHASE.exec(path);
  if (twoPhase) return { kind: 'two-phase', fullXid: BigInt(`0x${twoPhase[1]!}`) };
  if (LEFT_OUT.some((pattern) => pattern.test(path))) return { kind: 'left-out' };
  const inDatabase = IN_DATABASE.exec(path);
  return inDatabase ? fileInDatabase(inDatabase[1], inDatabase[2]!) : undefined;
}

function fileInDatabase(directory: string | undefined, name: string): DataFile | undefined {
  const place =
    directory === undefined
      ? { tablespace: GLOBAL_TABLESPACE, database: 0 }
      : { tablespace: DEFAULT_TABLESPACE, database: Number(directory) };
  if (name === 'pg_filenode.map') return { kind: 'relation-map', ...place };
  if (name === 'pg_internal.init' || TEMPORARY_RELATION.test(name)) return { kind: 'left-out' };
  if (name === 'PG_VERSION') return { kind: 'database', ...place };
  const relation = RELATION.exec(name);
  if (!relation) return undefined;
  const [, number, suffix, segment] = relation;
  const fork = suffix === undefined ? Fork.main : FORK_OF_SUFFIX[suffix]!;
  return {
    kind: 'relation',
    fork: { ...place, relation: Number(number), fork },
    segment: Number(segment ?? 0),
  };
}
