import { decodeRelationSize, encodeDatabase, encodeRelationSize } from '@coppice/postgres';
import type { DatabasePlace, EffectOf, WalRecord } from '@coppice/postgres';
import {
  Fork,
  databaseKey,
  keyOf,
  relationBlockPrefix,
  relationMapKey,
  relationOfKey,
  relationSizeKey,
} from '@coppice/vocabulary';
import type { PageKey, RelationFork } from '@coppice/vocabulary';
import { TOMBSTONE_VALUE } from './block-value';
import { relationSizesOf } from './key-ranges';
import type { TimelineIngest } from './timeline-ingest';

/** Blocks copied between two questions whether the store has room. */
const BLOCKS_PER_STEP = 64;

interface SizedFork {
  readonly key: PageKey;
  readonly fork: RelationFork;
  readonly blocks: number;
}

/** Every fork of a database, one after the other. */
async function* forksOf(
  ingest: TimelineIngest,
  place: DatabasePlace,
  record: WalRecord,
): AsyncIterable<SizedFork> {
  const [from, to] = relationSizesOf(place);
  for await (const [key, bytes] of ingest.target.scan(from, to, record.lsn)) {
    yield { key, fork: relationOfKey(key), blocks: decodeRelationSize(bytes) };
  }
}

/** `CREATE DATABASE … STRATEGY file_copy`: copies every page of every fork, as it is before the record. */
export async function copyDatabase(
  ingest: TimelineIngest,
  effect: EffectOf<'copy-database'>,
  record: WalRecord,
): Promise<void> {
  const { from, to } = effect;
  const { target } = ingest;
  const replaced = new Map<PageKey, number>();
  for await (const { key, fork, blocks } of forksOf(ingest, to, record))
    replaced.set(key, mainBlocks(fork, blocks));
  let growth = 0;
  for await (const source of forksOf(ingest, from, record)) {
    const fork = { ...source.fork, ...to };
    const sizeKey = relationSizeKey(fork);
    target.put(sizeKey, record.endLsn, { kind: 'image', bytes: encodeRelationSize(source.blocks) });
    growth += mainBlocks(fork, source.blocks) - (replaced.get(sizeKey) ?? 0);
    replaced.delete(sizeKey);
    await copyBlocks(ingest, source, relationBlockPrefix(fork), record);
  }
  for (const [key, blocks] of replaced) {
    target.put(key, record.endLsn, TOMBSTONE_VALUE);
    growth -= blocks;
  }
  const map = await target.read(relationMapKey(from.tablespace, from.database), record.lsn);
  target.put(
    relationMapKey(to.tablespace, to.database),
    record.endLsn,
    map ? { kind: 'image', bytes: map } : TOMBSTONE_VALUE,
  );
  const entry =
    (await target.read(databaseKey(from.tablespace, from.database), record.lsn)) ?? encodeDatabase(17);
  target.put(databaseKey(to.tablespace, to.database), record.endLsn, { kind: 'image', bytes: entry });
  finishBulk(ingest, growth);
}

async function copyBlocks(
  ingest: TimelineIngest,
  source: SizedFork,
  toPrefix: string,
  record: WalRecord,
): Promise<void> {
  const fromPrefix = relationBlockPrefix(source.fork);
  for (let start = 0; start < source.blocks; start += BLOCKS_PER_STEP) {
    await ingest.target.room();
    const end = Math.min(start + BLOCKS_PER_STEP, source.blocks);
    const reads = Array.from({ length: end - start }, (_, i) =>
      ingest.target.readPage(keyOf(fromPrefix, start + i), record.lsn),
    );
    (await Promise.all(reads)).forEach((page, i) => {
      const value = page ? ({ kind: 'image', bytes: page } as const) : TOMBSTONE_VALUE;
      ingest.target.put(keyOf(toPrefix, start + i), record.endLsn, value);
    });
  }
}

/** `DROP DATABASE`: every fork, the map and the directory go. */
export async function dropDatabase(
  ingest: TimelineIngest,
  effect: EffectOf<'drop-database'>,
  record: WalRecord,
): Promise<void> {
  const { target } = ingest;
  let growth = 0;
  for (const place of effect.places) {
    for await (const { key, fork, blocks } of forksOf(ingest, place, record)) {
      target.put(key, record.endLsn, TOMBSTONE_VALUE);
      growth -= mainBlocks(fork, blocks);
    }
    target.put(relationMapKey(place.tablespace, place.database), record.endLsn, TOMBSTONE_VALUE);
    target.put(databaseKey(place.tablespace, place.database), record.endLsn, TOMBSTONE_VALUE);
  }
  finishBulk(ingest, growth);
}

function mainBlocks(fork: RelationFork, blocks: number): number {
  return fork.fork === Fork.main ? blocks : 0;
}

function finishBulk(ingest: TimelineIngest, growth: number): void {
  ingest.forks.forgetAll();
  if (growth !== 0) ingest.target.resize(growth);
}
