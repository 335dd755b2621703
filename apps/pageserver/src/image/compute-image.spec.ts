import type { ComputeImagePart } from '@coppice/contracts';
import {
  carriedFileKeyOf,
  encodeCarriedFile,
  encodeCheckpointState,
  encodeRelationSize,
} from '@coppice/postgres';
import { BLOCK_SIZE, CHECKPOINT_KEY, Fork, relationBlockKey, relationSizeKey } from '@coppice/vocabulary';
import type { PageKey } from '@coppice/vocabulary';
import { MemoryTarget } from '../ingest/testing/memory-target';
import { START, STATE, TABLE } from '../ingest/testing/start-ingest';
import { computeImage } from './compute-image';
import type { ImagePosition } from './compute-image';

function timeline(): MemoryTarget {
  const target = new MemoryTarget();
  put(target, CHECKPOINT_KEY, encodeCheckpointState(STATE));
  return target;
}

function put(target: MemoryTarget, key: PageKey, bytes: Buffer): void {
  target.put(key, START, { kind: 'image', bytes });
}

async function partsOf(
  target: MemoryTarget,
  at: ImagePosition = { lsn: START },
): Promise<ComputeImagePart[]> {
  const parts: ComputeImagePart[] = [];
  for await (const part of computeImage(target, at)) parts.push(part);
  return parts;
}

const pathsOf = (parts: readonly ComputeImagePart[]): string[] =>
  parts.flatMap((part) => (part.kind === 'file' ? [part.value.path] : []));

describe('a compute image', () => {
  it('begins with the counters and the record before it', async () => {
    const [header] = await partsOf(timeline());
    expect(header).toMatchObject({
      kind: 'header',
      value: {
        lsn: BigInt(START),
        previousRecordLsn: 0xf00n,
        systemIdentifier: 7n,
        checkpoint: { nextFullXid: 800n, nextOid: 16384 },
      },
    });
  });

  it('takes the previous record from the caller, or says that it is not known', async () => {
    const target = timeline();
    const previousAt = async (at: ImagePosition): Promise<unknown> => {
      const [header] = await partsOf(target, at);
      return header!.kind === 'header' && header!.value.previousRecordLsn;
    };
    await expect(previousAt({ lsn: START + 0x80, lastRecordLsn: START + 0x40 })).resolves.toBe(
      BigInt(START + 0x40),
    );
    await expect(previousAt({ lsn: START + 0x80 })).resolves.toBeUndefined();
  });

  it('lists forks in batches and gives init forks whole', async () => {
    const target = timeline();
    for (let relation = 1; relation <= 2500; relation++) {
      put(target, relationSizeKey({ ...TABLE, relation }), encodeRelationSize(relation));
    }
    const init = { ...TABLE, relation: 9000, fork: Fork.init };
    put(target, relationSizeKey(init), encodeRelationSize(2));
    put(target, relationBlockKey(init, 1), Buffer.alloc(BLOCK_SIZE, 6));
    const parts = await partsOf(target);
    const relations = parts.flatMap((part) => (part.kind === 'relations' ? [part.value] : []));
    expect(relations.map(({ blocks }) => blocks.length)).toEqual([2000, 501]);
    expect(relations[0]!.blocks.slice(0, 3)).toEqual([1, 2, 3]);
    const initForks = parts.flatMap((part) => (part.kind === 'initFork' ? [part.value] : []));
    expect(initForks).toEqual([
      {
        tablespace: 1663,
        database: 5,
        relation: 9000,
        pages: Buffer.concat([Buffer.alloc(BLOCK_SIZE), Buffer.alloc(BLOCK_SIZE, 6)]),
      },
    ]);
  });

  it('has the statistics only right behind a shutdown', async () => {
    const target = timeline();
    for (const path of ['pg_stat/pgstat.stat', 'pg_replslot/a/state']) {
      put(target, carriedFileKeyOf(path), encodeCarriedFile({ path, content: Buffer.from('x') }));
    }
    expect(pathsOf(await partsOf(target)).sort()).toEqual(['pg_replslot/a/state', 'pg_stat/pgstat.stat']);
    expect(pathsOf(await partsOf(target, { lsn: START + 0x40 }))).toEqual(['pg_replslot/a/state']);
  });

  it('of a timeline that has no checkpoint state is not found', async () => {
    await expect(partsOf(new MemoryTarget())).rejects.toMatchObject({
      kind: 'NotFound',
      code: 'no-checkpoint',
    });
  });
});
