/** Relations as parts of a stream: every fork with its size, in batches that split no relation, and init forks whole. */
import type { RelationsPart } from '@coppice/contracts';
import { decodeRelationSize } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import {
  BLOCK_SIZE,
  Fork,
  KeyKind,
  keyOf,
  relationBlockPrefix,
  relationOfKey,
  relationSizeKey,
} from '@coppice/vocabulary';
import type { LsnNumber, PageKey, RelationFork } from '@coppice/vocabulary';
import { kindRange } from '../ingest/key-ranges';
import type { TimelineView } from '../ingest/ingest-target';

const FORKS = Object.values(Fork);
/** Forks in one part, or a few more. */
const BATCH = 2000;
/** An init fork is a few pages; more than this is not one. */
const MAX_INIT_BLOCKS = 256;

export type RelationName = Omit<RelationFork, 'fork'>;

/** All relations. */
export async function* allRelations(view: TimelineView, lsn: LsnNumber): AsyncGenerator<RelationsPart> {
  const [from, to] = kindRange(KeyKind.relationSize);
  yield* relationParts(view, view.scan(from, to, lsn), lsn);
}

/** Those of one database, or of `global/`. */
export async function* relationsOfDatabase(
  view: TimelineView,
  of: Omit<RelationName, 'relation'>,
  lsn: LsnNumber,
): AsyncGenerator<RelationsPart> {
  const from = relationSizeKey({ ...of, relation: 0, fork: Fork.main });
  const to = relationSizeKey({ ...of, relation: 0xffffffff, fork: Fork.init });
  yield* relationParts(view, view.scan(from, to, lsn), lsn);
}

/** Those that are named and exist. */
export async function* namedRelations(
  view: TimelineView,
  names: readonly RelationName[],
  lsn: LsnNumber,
): AsyncGenerator<RelationsPart> {
  const keys = names.flatMap((name) => FORKS.map((fork) => relationSizeKey({ ...name, fork })));
  const values = await view.readAll(keys, lsn);
  const found = keys.flatMap((key, i): (readonly [PageKey, Buffer])[] =>
    values[i] ? [[key, values[i]]] : [],
  );
  yield* relationParts(view, found, lsn);
}

async function* relationParts(
  view: TimelineView,
  sizes: AsyncIterable<readonly [PageKey, Buffer]> | Iterable<readonly [PageKey, Buffer]>,
  lsn: LsnNumber,
): AsyncGenerator<RelationsPart> {
  let batch = emptyForks();
  const unlogged: (RelationFork & { readonly blocks: number })[] = [];
  for await (const [key, bytes] of sizes) {
    const fork = relationOfKey(key);
    const blocks = decodeRelationSize(bytes);
    if (
      batch.blocks.length >= BATCH &&
      (batch.relation.at(-1) !== fork.relation || batch.database.at(-1) !== fork.database)
    ) {
      yield { kind: 'relations', value: batch };
      batch = emptyForks();
    }
    if (fork.fork === Fork.init) unlogged.push({ ...fork, blocks });
    batch.tablespace.push(fork.tablespace);
    batch.database.push(fork.database);
    batch.relation.push(fork.relation);
    batch.fork.push(fork.fork);
    batch.blocks.push(blocks);
  }
  if (batch.blocks.length > 0) yield { kind: 'relations', value: batch };
  for (const fork of unlogged) yield await initFork(view, fork, fork.blocks, lsn);
}

function emptyForks(): Record<'tablespace' | 'database' | 'relation' | 'fork' | 'blocks', number[]> {
  return { tablespace: [], database: [], relation: [], fork: [], blocks: [] };
}

async function initFork(
  view: TimelineView,
  fork: RelationFork,
  blocks: number,
  lsn: LsnNumber,
): Promise<RelationsPart> {
  const { tablespace, database, relation } = fork;
  if (blocks > MAX_INIT_BLOCKS) {
    throw new CoppiceError(
      'Corrupt',
      'init-fork-too-large',
      `the init fork of relation ${relation} is ${blocks} blocks`,
      {
        remedy: 'Start at an earlier position and drop the relation.',
      },
    );
  }
  const prefix = relationBlockPrefix(fork);
  const pages = await Promise.all(
    Array.from({ length: blocks }, (_, block) => view.readPage(keyOf(prefix, block), lsn)),
  );
  const bytes = Buffer.concat(pages.map((page) => page ?? Buffer.alloc(BLOCK_SIZE)));
  return { kind: 'initFork', value: { tablespace, database, relation, pages: bytes } };
}
