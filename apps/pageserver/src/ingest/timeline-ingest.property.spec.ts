import fc from 'fast-check';
import { Rmgr, XactInfo, XlogInfo, decodeRelationSize } from '@coppice/postgres';
import { BLOCK_SIZE, Fork, relationBlockKey, relationSizeKey } from '@coppice/vocabulary';
import type { RelationFork } from '@coppice/vocabulary';
import { IngestBench, TABLE, blockRef, bytesOf } from './testing/start-ingest';

type Step =
  | { readonly kind: 'write'; readonly blocks: readonly number[]; readonly fill: number }
  | { readonly kind: 'truncate'; readonly blocks: number }
  | { readonly kind: 'create' }
  | { readonly kind: 'drop' };

const block = fc.integer({ min: 0, max: 40 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      blocks: fc.uniqueArray(block, { minLength: 1, maxLength: 3 }),
      fill: fc.integer({ min: 1, max: 255 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('truncate' as const), blocks: block }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ kind: 'create' }, { kind: 'drop' }) },
);

/** A file, as a list of what its pages are filled with; undefined while there is none. */
type File = readonly number[] | undefined;

function next(file: File, step: Step): File {
  switch (step.kind) {
    case 'write': {
      const pages = [...(file ?? [])];
      while (pages.length <= Math.max(...step.blocks)) pages.push(0);
      for (const at of step.blocks) pages[at] = step.fill;
      return pages;
    }
    case 'truncate':
      return (file ?? []).slice(0, step.blocks);
    case 'create':
      return file ?? [];
    case 'drop':
      return undefined;
  }
}

const SCRATCH: RelationFork = { tablespace: 1663, database: 1, relation: 1, fork: Fork.fsm };
const image = (fill: number) => ({
  bytes: Buffer.alloc(BLOCK_SIZE, fill),
  holeOffset: 0,
  holeLength: 0,
  apply: true,
  compression: 'none' as const,
});
const file = bytesOf((w) => w.u32le(TABLE.tablespace).u32le(TABLE.database).u32le(TABLE.relation));

function recordOf(step: Step) {
  switch (step.kind) {
    case 'write': {
      const written = step.blocks.map((at, i) => blockRef(at, { id: i + 1, image: image(step.fill) }));
      return {
        rmgr: Rmgr.xlog,
        info: XlogInfo.fpi,
        blocks: [blockRef(0, { relation: SCRATCH, image: image(1) }), ...written],
      };
    }
    case 'truncate':
      return {
        rmgr: Rmgr.smgr,
        info: 0x20,
        mainData: bytesOf((w) => w.u32le(step.blocks).raw(file).i32le(1)),
      };
    case 'create':
      return { rmgr: Rmgr.smgr, info: 0x10, mainData: bytesOf((w) => w.raw(file).i32le(Fork.main)) };
    case 'drop':
      return {
        rmgr: Rmgr.xact,
        info: XactInfo.commit | 0x80,
        xid: 801,
        mainData: bytesOf((w) => w.i64le(1n).u32le(4).i32le(1).raw(file)),
      };
  }
}

describe('a relation written, cut, dropped and made again', () => {
  it('is at every position what the file would have been', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const bench = new IngestBench();
        await bench.begin();
        const history: { lsn: number; file: File }[] = [];
        for (const one of steps) {
          await bench.apply(recordOf(one));
          history.push({ lsn: bench.lsn, file: next(history.at(-1)?.file, one) });
        }
        for (const { lsn, file: expected } of history) {
          const size = bench.target.peek(relationSizeKey(TABLE), lsn);
          expect(size && decodeRelationSize(size)).toBe(expected?.length);
          const pages = (expected ?? []).map(
            (_, at) => bench.target.page(relationBlockKey(TABLE, at), lsn)?.[100] ?? 0,
          );
          expect(pages).toEqual(expected ?? []);
        }
        expect(bench.target.logicalBlocks).toBe(history.at(-1)?.file?.length ?? 0);
      }),
      { numRuns: 150 },
    );
  });
});
