/** Carries out, on a timeline, each thing that a record can do beyond its block references. */
import {
  CorruptWal,
  TOMBSTONE,
  carriedFileKeyOf,
  decodeCarriedFile,
  decodeOriginProgress,
  encodeCarriedFile,
  encodeCommitPosition,
  encodeDatabase,
  encodeOriginProgress,
  fullXid,
} from '@coppice/postgres';
import type { Effect, EffectKind, EffectOf, WalRecord } from '@coppice/postgres';
import {
  commitTimeKey,
  databaseKey,
  keyOf,
  relationMapKey,
  replicationOriginKey,
  twoPhaseKey,
} from '@coppice/vocabulary';
import type { PageKey } from '@coppice/vocabulary';
import { TOMBSTONE_VALUE } from './block-value';
import { copyDatabase, dropDatabase } from './databases';
import { dropRelations, truncateRelation } from './relations';
import { removeSlruSegments, truncateSlru } from './slru-segments';
import type { TimelineIngest } from './timeline-ingest';

type Handler<Kind extends EffectKind> = (
  ingest: TimelineIngest,
  effect: EffectOf<Kind>,
  record: WalRecord,
) => void | Promise<void>;

/** The major version whose `PG_VERSION` a database directory holds. */
const POSTGRES_MAJOR = 17;

const handlers: { readonly [Kind in EffectKind]: Handler<Kind> } = {
  'change-page': changePage,
  'create-fork': async ({ forks }, { fork }, { lsn }) => {
    const size = await forks.load(fork, lsn);
    if (!size.exists) forks.resize(size, 0);
  },
  truncate: truncateRelation,
  'drop-relations': dropRelations,
  'commit-time': (ingest, { micros }, record) => {
    if (micros >= 0n) putImage(ingest, commitTimeKey(micros), encodeCommitPosition(record.endLsn), record);
  },
  'create-database': (ingest, { place }, record) => {
    putImage(ingest, databaseKey(place.tablespace, place.database), encodeDatabase(POSTGRES_MAJOR), record);
  },
  'copy-database': copyDatabase,
  'drop-database': dropDatabase,
  'relation-map': (ingest, { place, map }, record) => {
    putImage(ingest, relationMapKey(place.tablespace, place.database), map, record);
  },
  'zero-slru-page': ({ slrus }, { slru, page, unlessThere }, record) =>
    slrus.zero(slru, page, unlessThere, record),
  'change-slru-page': ({ slrus }, { slru, page, value }, record) => slrus.change(slru, page, value, record),
  'truncate-slru': truncateSlru,
  'remove-slru-segments': removeSlruSegments,
  'prepare-transaction': (ingest, { xid, state }, record) =>
    putImage(ingest, twoPhaseKeyOf(ingest, xid), state, record),
  'end-prepared': (ingest, { xid }, record) =>
    putImage(ingest, twoPhaseKeyOf(ingest, xid), TOMBSTONE, record),
  'advance-origin': async (ingest, { origin, remoteLsn, backward }, record) => {
    const key = replicationOriginKey(origin);
    const known = await ingest.target.read(key, record.lsn);
    if (!backward && known && decodeOriginProgress(known) >= remoteLsn) return;
    putImage(ingest, key, encodeOriginProgress(remoteLsn), record);
  },
  'drop-origin': (ingest, { origin }, record) =>
    putImage(ingest, replicationOriginKey(origin), TOMBSTONE, record),
  'put-file': (ingest, { path, content }, record) => {
    putImage(
      ingest,
      carriedFileKeyOf(path),
      content.length === 0 ? TOMBSTONE : encodeCarriedFile({ path, content }),
      record,
    );
  },
  'append-file': async (ingest, { path, offset, content }, record) => {
    const key = carriedFileKeyOf(path);
    const known = await ingest.target.read(key, record.lsn);
    const before = known ? decodeCarriedFile(known).content : TOMBSTONE;
    if (before.length < offset)
      throw new CorruptWal(record.lsn, `${path} is ${before.length} bytes and continues at ${offset}`);
    putImage(
      ingest,
      key,
      encodeCarriedFile({ path, content: Buffer.concat([before.subarray(0, offset), content]) }),
      record,
    );
  },
};

/** A promise only when something must be read first. */
export function applyEffect(ingest: TimelineIngest, effect: Effect, record: WalRecord): void | Promise<void> {
  return (handlers[effect.kind] as Handler<EffectKind>)(ingest, effect, record);
}

function changePage(
  ingest: TimelineIngest,
  effect: EffectOf<'change-page'>,
  record: WalRecord,
): void | Promise<void> {
  const size = ingest.forks.peek(effect.fork);
  if (!size) return ingest.forks.load(effect.fork, record.lsn).then(() => changePage(ingest, effect, record));
  // A map that does not reach the page says nothing of its heap blocks: there is nothing to clear.
  if (effect.block >= size.blocks) return;
  ingest.target.put(keyOf(size.blockPrefix, effect.block), record.endLsn, effect.value);
}

function putImage(ingest: TimelineIngest, key: PageKey, bytes: Buffer, record: WalRecord): void {
  ingest.target.put(key, record.endLsn, bytes.length === 0 ? TOMBSTONE_VALUE : { kind: 'image', bytes });
}

function twoPhaseKeyOf({ checkpoint }: TimelineIngest, xid: number): PageKey {
  return twoPhaseKey(fullXid(xid, { epoch: checkpoint.nextXidEpoch, xid: checkpoint.nextXid }));
}
