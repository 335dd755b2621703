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
import { namedRelations, relationsOfDatabase, allRelations } from './relations';
import { wantedParts } from './wanted';

function timeline(): MemoryTarget {
  const target = new MemoryTarget();
  put(target, CHECKPOINT_KEY, encodeCheckpointState(STATE));
  return target;
}

function put(target: MemoryTarget, key: PageKey, bytes: Buffer): void {
  target.put(key, START, { kind: 'image', bytes });
}

const logicalSize = { bytes: 3 * BLOCK_SIZE, isEstimate: true };

async function gathered<T>(parts: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const part of parts) all.push(part);
  return all;
}

function partsOf(target: MemoryTarget, lsn = START, lastRecordLsn?: number): Promise<ComputeImagePart[]> {
  return gathered(computeImage(target, { lsn, lastRecordLsn, logicalSize }));
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
        logicalBlocks: 3,
        logicalIsEstimate: true,
      },
    });
  });

  it('takes the previous record from the caller, or says that it is not known', async () => {
    const target = timeline();
    const previousAt = async (lastRecordLsn?: number): Promise<unknown> => {
      const [header] = await partsOf(target, START + 0x80, lastRecordLsn);
      return header!.kind === 'header' && header!.value.previousRecordLsn;
    };
    await expect(previousAt(START + 0x40)).resolves.toBe(BigInt(START + 0x40));
    await expect(previousAt()).resolves.toBeUndefined();
  });

  it('has the statistics only right behind a shutdown', async () => {
    const target = timeline();
    for (const path of ['pg_stat/pgstat.stat', 'pg_replslot/a/state']) {
      put(target, carriedFileKeyOf(path), encodeCarriedFile({ path, content: Buffer.from('x') }));
    }
    expect(pathsOf(await partsOf(target)).sort()).toEqual(['pg_replslot/a/state', 'pg_stat/pgstat.stat']);
    expect(pathsOf(await partsOf(target, START + 0x40))).toEqual(['pg_replslot/a/state']);
  });

  it('of a timeline that has no checkpoint state is not found', async () => {
    await expect(partsOf(new MemoryTarget())).rejects.toMatchObject({
      kind: 'NotFound',
      code: 'no-checkpoint',
    });
  });
});

describe('relations', () => {
  const init = { ...TABLE, relation: 9000, fork: Fork.init };

  function withTables(count: number): MemoryTarget {
    const target = timeline();
    for (let relation = 1; relation <= count; relation++)
      for (const fork of [Fork.main, Fork.vm])
        put(target, relationSizeKey({ ...TABLE, relation, fork }), encodeRelationSize(relation));
    put(target, relationSizeKey({ ...TABLE, database: TABLE.database + 1 }), encodeRelationSize(1));
    put(target, relationSizeKey(init), encodeRelationSize(2));
    put(target, relationBlockKey(init, 1), Buffer.alloc(BLOCK_SIZE, 6));
    return target;
  }
  const INIT_FORK = {
    kind: 'initFork',
    value: {
      tablespace: 1663,
      database: 5,
      relation: 9000,
      pages: Buffer.concat([Buffer.alloc(BLOCK_SIZE), Buffer.alloc(BLOCK_SIZE, 6)]),
    },
  };

  it('of a database come in batches that split none, with init forks whole', async () => {
    const target = withTables(2500);
    const parts = await gathered(relationsOfDatabase(target, TABLE, START));
    const sizes = parts.flatMap((part) => (part.kind === 'relations' ? [part.value] : []));
    expect(sizes.map(({ blocks }) => blocks.length)).toEqual([2000, 2000, 1001]);
    for (const { relation, fork } of sizes.slice(0, 2))
      expect([relation.at(-1), fork.at(-1)]).toEqual([relation.at(-2), Fork.vm]);
    expect(parts.at(-1)).toEqual(INIT_FORK);
    expect(
      (await gathered(allRelations(target, START))).flatMap((part) =>
        part.kind === 'relations' ? part.value.blocks : [],
      ),
    ).toHaveLength(5002);
  });

  it('that are named come with all their forks, however many others there are', async () => {
    const target = withTables(500);
    const before = target.reads;
    const parts = await gathered(
      namedRelations(target, [{ ...TABLE, relation: 7 }, { ...TABLE, relation: 8000 }, init], START),
    );
    expect(parts[0]).toMatchObject({
      kind: 'relations',
      value: { relation: [7, 7, 9000], fork: [Fork.main, Fork.vm, Fork.init], blocks: [7, 7, 2] },
    });
    expect(parts[1]).toEqual(INIT_FORK);
    expect(target.reads - before).toBe(12);
  });

  it('and pages that are wanted come as far as they exist', async () => {
    const target = withTables(3);
    const keys = [
      relationBlockKey({ ...TABLE, relation: 2 }, 0),
      relationBlockKey({ ...TABLE, relation: 8000 }, 0),
      relationSizeKey({ ...TABLE, relation: 3 }),
    ];
    const page = Buffer.alloc(BLOCK_SIZE, 9);
    const parts = await gathered(
      wantedParts(target, keys, START, async (pages) =>
        pages.map((key) => (key === keys[0] ? page : undefined)),
      ),
    );
    expect(parts).toMatchObject([
      { kind: 'relations', value: { relation: [2, 2, 3, 3] } },
      { kind: 'warmPages', value: { keys: [keys[0]], pages: [page] } },
    ]);
  });

  it('are all that can be wanted besides pages', async () => {
    await expect(
      gathered(wantedParts(timeline(), [CHECKPOINT_KEY], START, async () => [])),
    ).rejects.toMatchObject({ code: 'not-wanted' });
  });
});
