import fc from 'fast-check';
import type { PageValue } from './page-value';
import {
  CorruptPageValue,
  applySmallRecord,
  clearVisibility,
  decodeSmallRecord,
  setMultixactMembers,
  setMultixactOffset,
  setTransactionStatus,
  zeroSlruPage,
} from './small-records';
import {
  TransactionStatus,
  getMultixactMember,
  getMultixactOffset,
  getTransactionStatus,
} from './slru-layout';
import {
  HEAP_BLOCKS_PER_VM_PAGE,
  VM_ALL_BITS,
  VM_ALL_FROZEN,
  VM_ALL_VISIBLE,
  getVmBits,
  setVmBits,
} from './visibility-map';

const apply = (page: Buffer, value: PageValue): void => applySmallRecord(page, value.bytes);

describe('small records', () => {
  it('clears only the named visibility bits of the named heap blocks', () => {
    const page = Buffer.alloc(8192);
    const first = HEAP_BLOCKS_PER_VM_PAGE;
    for (let block = first; block < first + 8; block++) setVmBits(page, block, VM_ALL_BITS);
    apply(
      page,
      clearVisibility([
        { heapBlock: first + 1, flags: VM_ALL_BITS },
        { heapBlock: first + 6, flags: VM_ALL_FROZEN },
      ]),
    );
    const bits = Array.from({ length: 8 }, (_, i) => getVmBits(page, first + i));
    expect(bits).toEqual([3, 0, 3, 3, 3, 3, VM_ALL_VISIBLE, 3]);
    expect(page.subarray(0, 24)).toEqual(Buffer.alloc(24));
  });

  it('reaches the last heap block of a visibility map page without leaving it', () => {
    const page = Buffer.alloc(8192, 0xff);
    apply(page, clearVisibility([{ heapBlock: HEAP_BLOCKS_PER_VM_PAGE - 1, flags: VM_ALL_BITS }]));
    expect(page[8191]).toBe(0x3f);
  });

  it('sets transaction status where PostgreSQL keeps it', () => {
    const page = Buffer.alloc(8192);
    apply(page, setTransactionStatus({ xids: [32768 + 5, 32768 + 6], status: TransactionStatus.committed }));
    apply(page, setTransactionStatus({ xids: [32768 + 6], status: TransactionStatus.aborted }));
    expect(page[1]).toBe(0b00_10_01_00);
    expect(getTransactionStatus(page, 32768 + 6)).toBe(TransactionStatus.aborted);
  });

  it('makes a page of zeros that needs no base', () => {
    const page = Buffer.alloc(8192, 7);
    apply(page, zeroSlruPage());
    expect(page.equals(Buffer.alloc(8192))).toBe(true);
    expect(zeroSlruPage()).toMatchObject({ kind: 'small', willInit: true });
  });

  it('sets multixact offsets and members on their pages', () => {
    const offsets = Buffer.alloc(8192);
    apply(offsets, setMultixactOffset([{ multixact: 2048 * 3 + 2047, offset: 0xfffffffe }]));
    expect(getMultixactOffset(offsets, 2048 * 3 + 2047)).toBe(0xfffffffe);

    const members = Buffer.alloc(8192);
    const last = 1636 * 5 - 1;
    apply(
      members,
      setMultixactMembers([
        { offset: last, xid: 4294967295, status: 5 },
        { offset: last - 1, xid: 9, status: 1 },
      ]),
    );
    expect(getMultixactMember(members, last)).toEqual({ xid: 4294967295, status: 5 });
    expect(getMultixactMember(members, last - 1)).toEqual({ xid: 9, status: 1 });
    expect(members.subarray(8180)).toEqual(Buffer.alloc(12));
  });

  it('refuses entries of two pages in one record', () => {
    expect(() => setTransactionStatus({ xids: [32767, 32768], status: 1 })).toThrow('split it by page');
  });

  it('decodes what it encoded', () => {
    const members = [{ offset: 3, xid: 4, status: 2 }];
    expect(decodeSmallRecord(setMultixactMembers(members).bytes)).toEqual({
      kind: 'multixact-members',
      members,
    });
    const cleared = [{ heapBlock: 12, flags: 3 }];
    expect(decodeSmallRecord(clearVisibility(cleared).bytes)).toEqual({ kind: 'clear-visibility', cleared });
    expect(decodeSmallRecord(setTransactionStatus({ xids: [8], status: 1 }).bytes)).toEqual({
      kind: 'transaction-status',
      status: 1,
      xids: [8],
    });
  });

  it('ends in CorruptPageValue, never outside the page, whatever the bytes are', () => {
    const guarded = Buffer.alloc(8192 + 64, 0x55);
    const page = guarded.subarray(32, 32 + 8192);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.integer({ min: 0, max: 6 }), (noise, kind) => {
        const bytes = Buffer.from(noise);
        if (bytes.length > 0) bytes[0] = kind;
        const outcomes = [() => applySmallRecord(page, bytes), () => decodeSmallRecord(bytes)].map((run) => {
          try {
            run();
            return 'accepted';
          } catch (error) {
            expect(error).toBeInstanceOf(CorruptPageValue);
            return 'refused';
          }
        });
        expect(outcomes[0]).toBe(outcomes[1]);
      }),
    );
    expect(guarded.subarray(0, 32)).toEqual(Buffer.alloc(32, 0x55));
    expect(guarded.subarray(32 + 8192)).toEqual(Buffer.alloc(32, 0x55));
  });
});
