import fc from 'fast-check';
import { Fork } from '@coppice/vocabulary';
import type { ForkNumber } from '@coppice/vocabulary';
import { decodeSmallRecord } from '../redo/small-records';
import { CorruptWal, UnsupportedWal } from '../wal/corrupt-wal';
import { Rmgr } from '../wal/rmgr';
import { advanceCheckpoint, stateFromCheckpoint } from './checkpoint-state';
import { effectsOf } from './effects-of';
import { makeBlock, makeRecord } from './testing/make-record';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
/** Small counts among the words make records that parse further. */
const word = fc.oneof(
  u32,
  fc.integer({ min: 0, max: 40 }),
  fc.constantFrom(0x57f94534, 0x80000000, 0xffffffff, 1663),
);
const mainData = fc
  .tuple(fc.array(word, { maxLength: 40 }), fc.uint8Array({ maxLength: 5 }))
  .map(([words, rest]) => {
    const bytes = Buffer.alloc(words.length * 4);
    words.forEach((value, i) => bytes.writeUInt32LE(value, i * 4));
    return Buffer.concat([bytes, rest]);
  });
const block = fc
  .tuple(fc.integer({ min: 0, max: 4 }), fc.constantFrom<ForkNumber>(Fork.main, Fork.vm), u32)
  .map(([id, fork, number]) =>
    makeBlock(id, { tablespace: 1663, database: 5, relation: 16384, fork }, number),
  );
const record = fc
  .record({
    rmgr: fc.oneof(fc.constantFrom(...Object.values(Rmgr)), fc.integer({ min: 0, max: 255 })),
    info: fc.integer({ min: 0, max: 255 }),
    xid: u32,
    origin: fc.integer({ min: 0, max: 0xffff }),
    mainData,
    blocks: fc.array(block, { maxLength: 4 }),
  })
  .map(makeRecord);

const state = stateFromCheckpoint(
  {
    redo: 0x100,
    timelineNumber: 1,
    previousTimelineNumber: 1,
    fullPageWrites: false,
    walLevel: 1,
    nextXid: 731n,
    nextOid: 16384,
    nextMulti: 1,
    nextMultiOffset: 0,
    oldestXid: 722,
    oldestXidDb: 1,
    oldestMulti: 1,
    oldestMultiDb: 1,
    time: 0n,
    oldestCommitTsXid: 0,
    newestCommitTsXid: 0,
    oldestActiveXid: 0,
  },
  { systemIdentifier: 9n, recordLsn: 0x100, recordEndLsn: 0x178 },
);

function refusedOr(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof CorruptWal) && !(error instanceof UnsupportedWal)) throw error;
  }
}

describe('records that no PostgreSQL wrote', () => {
  it('are refused, or mean something well-formed', () => {
    fc.assert(
      fc.property(record, (hostile) => {
        refusedOr(() => {
          for (const effect of effectsOf(hostile))
            if ('value' in effect) decodeSmallRecord(effect.value.bytes);
        });
      }),
      { numRuns: 4_000 },
    );
  });

  it('leave the checkpoint state within its ranges', () => {
    fc.assert(
      fc.property(record, (hostile) => {
        refusedOr(() => {
          const after = advanceCheckpoint(state, hostile);
          for (const value of [
            after.nextXid,
            after.nextOid,
            after.nextMulti,
            after.nextMultiOffset,
            after.oldestXid,
            after.oldestMulti,
          ]) {
            expect(Number.isInteger(value) && value >= 0 && value <= 0xffffffff).toBe(true);
          }
        });
      }),
      { numRuns: 4_000 },
    );
  });

  it('with random checkpoints are read without harm', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 88, maxLength: 88 }),
        fc.constantFrom(0x00, 0x10),
        (bytes, info) => {
          refusedOr(() =>
            advanceCheckpoint(state, makeRecord({ rmgr: Rmgr.xlog, info, mainData: Buffer.from(bytes) })),
          );
        },
      ),
    );
  });
});
