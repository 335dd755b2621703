import { clearVisibilityTail, freeSpaceMapTail, visibilityMapTail } from '@coppice/postgres';
import type { EffectOf, ForkTail, RelationFile, WalRecord } from '@coppice/postgres';
import { BLOCK_SIZE, Fork, keyOf } from '@coppice/vocabulary';
import type { ForkNumber } from '@coppice/vocabulary';
import { TOMBSTONE_VALUE } from './block-value';
import type { ForkSize } from './fork-sizes';
import type { TimelineIngest } from './timeline-ingest';

const FORKS = Object.values(Fork);

/** Cuts a relation: its main fork, and what its maps say of the blocks that are gone. */
export async function truncateRelation(
  ingest: TimelineIngest,
  effect: EffectOf<'truncate'>,
  record: WalRecord,
): Promise<void> {
  const { file, blocks, forks } = effect;
  const load = (fork: ForkNumber): Promise<ForkSize> => ingest.forks.load({ ...file, fork }, record.lsn);
  const main = await load(Fork.main);
  if (!main.exists) ingest.forks.resize(main, 0);
  if (forks.main && blocks < main.blocks) ingest.forks.resize(main, blocks);
  if (forks.freeSpaceMap) {
    const tail = freeSpaceMapTail(blocks);
    const size = await load(Fork.fsm);
    // Room that is forgotten is found again; a page of zeros says that there is none.
    if (cut(ingest, size, tail))
      ingest.target.put(keyOf(size.blockPrefix, tail.blocks - 1), record.endLsn, TOMBSTONE_VALUE);
  }
  if (forks.visibilityMap) {
    const tail = visibilityMapTail(blocks);
    const size = await load(Fork.vm);
    if (cut(ingest, size, tail))
      await clearTail(ingest, size, { page: tail.blocks - 1, heapBlocks: blocks }, record);
  }
}

/** Whether the last block that is left must forget some of what it says. */
function cut(ingest: TimelineIngest, size: ForkSize, tail: ForkTail): boolean {
  if (size.blocks < tail.blocks) return false;
  if (size.blocks > tail.blocks) ingest.forks.resize(size, tail.blocks);
  return tail.lastIsShared;
}

async function clearTail(
  ingest: TimelineIngest,
  size: ForkSize,
  at: { readonly page: number; readonly heapBlocks: number },
  record: WalRecord,
): Promise<void> {
  const key = keyOf(size.blockPrefix, at.page);
  const page = (await ingest.target.readPage(key, record.lsn)) ?? Buffer.alloc(BLOCK_SIZE);
  clearVisibilityTail(page, at.heapBlocks);
  ingest.target.put(key, record.endLsn, { kind: 'image', bytes: page });
}

/** Drops every fork of relations whose transaction ended. */
export async function dropRelations(
  ingest: TimelineIngest,
  effect: EffectOf<'drop-relations'>,
  record: WalRecord,
): Promise<void> {
  for (const file of effect.files) {
    for (const size of await allForks(ingest, file, record)) ingest.forks.drop(size);
  }
}

function allForks(ingest: TimelineIngest, file: RelationFile, record: WalRecord): Promise<ForkSize[]> {
  return Promise.all(FORKS.map((fork) => ingest.forks.load({ ...file, fork }, record.lsn)));
}
