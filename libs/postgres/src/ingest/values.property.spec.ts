import fc from 'fast-check';
import { CorruptPageValue } from '../redo/small-records';
import type { CheckpointState } from './checkpoint-state';
import {
  decodeCarriedFile,
  decodeCheckpointState,
  decodeCommitPosition,
  decodeDatabase,
  decodeOriginProgress,
  decodeRelationSize,
  decodeSlruSegmentSize,
  encodeCarriedFile,
  encodeCheckpointState,
  encodeCommitPosition,
  encodeDatabase,
  encodeOriginProgress,
  encodeRelationSize,
  encodeSlruSegmentSize,
} from './values';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const position = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const content = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const state: fc.Arbitrary<CheckpointState> = fc.record({
  systemIdentifier: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  nextXidEpoch: fc.integer({ min: 0, max: 0xffff }),
  nextXid: u32,
  nextOid: u32,
  nextMulti: u32,
  nextMultiOffset: u32,
  oldestXid: u32,
  oldestXidDb: u32,
  oldestMulti: u32,
  oldestMultiDb: u32,
  oldestCommitTsXid: u32,
  newestCommitTsXid: u32,
  walLevel: fc.integer({ min: 0, max: 2 }),
  recordLsn: position,
  recordEndLsn: position,
});

describe('values that are not pages', () => {
  it('come back as they were put', () => {
    fc.assert(
      fc.property(
        u32,
        position,
        content,
        state,
        fc.string({ maxLength: 80 }),
        (number, lsn, bytes, checkpoint, path) => {
          expect(decodeRelationSize(encodeRelationSize(number))).toBe(number);
          expect(decodeSlruSegmentSize(encodeSlruSegmentSize(number))).toBe(number);
          expect(decodeDatabase(encodeDatabase(number & 0xffff))).toBe(number & 0xffff);
          expect(decodeCommitPosition(encodeCommitPosition(lsn))).toBe(lsn);
          expect(decodeOriginProgress(encodeOriginProgress(BigInt(lsn)))).toBe(BigInt(lsn));
          expect(decodeCheckpointState(encodeCheckpointState(checkpoint))).toEqual(checkpoint);
          expect(decodeCarriedFile(encodeCarriedFile({ path, content: bytes }))).toEqual({
            path,
            content: bytes,
          });
        },
      ),
    );
  });

  it('that are cut or too long are corrupt, never something else', () => {
    const decoders = [
      decodeRelationSize,
      decodeSlruSegmentSize,
      decodeDatabase,
      decodeCommitPosition,
      decodeOriginProgress,
      decodeCheckpointState,
      decodeCarriedFile,
    ];
    fc.assert(
      fc.property(content, fc.constantFrom(...decoders), (bytes, decode) => {
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptPageValue);
        }
      }),
    );
    expect(() => decodeRelationSize(Buffer.alloc(5))).toThrow(CorruptPageValue);
    expect(() => decodeCheckpointState(Buffer.alloc(3))).toThrow(CorruptPageValue);
  });
});
