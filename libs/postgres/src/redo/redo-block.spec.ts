import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { restoreBlockImage } from '../page/block-image';
import { UnsupportedWal } from '../wal/corrupt-wal';
import type { BlockReference, WalRecord } from '../wal/record';
import { Rmgr } from '../wal/rmgr';
import { applyValue, rebuildPage } from './apply-value';
import { getGistFlags } from './gist';
import { maskPage } from './mask';
import { maskKindOf } from './mask-kind';
import { PageFlag, initPage, pageFlags, pageLsn } from './page-header';
import { redoBlock } from './redo-block';
import { CorruptPageValue, clearVisibility } from './small-records';
import { readRedoFixtures } from './testdata/read-fixtures';
import { getVmBits, setVmBits } from './visibility-map';

const fixtures = readRedoFixtures(readFileSync(join(__dirname, 'testdata/redo-17.bin.gz')));
const gist = fixtures.find((f) => f.record.rmgr === Rmgr.gist && f.block.id === 1)!;
const insert = fixtures.find((f) => f.name.startsWith('Heap 0x00'))!;

/** The page before, then what our redo makes of it. */
function redone(fixture: { record: WalRecord; block: BlockReference; before: Buffer }): Buffer {
  const page = Buffer.from(fixture.before);
  redoBlock(page, fixture.record, fixture.block);
  return page;
}

function withoutImage(block: BlockReference): BlockReference {
  return { ...block, image: undefined };
}

describe('redo', () => {
  it.each(fixtures.map((f) => [f.name, f] as const))(
    'makes the page that PostgreSQL had: %s',
    (_name, fixture) => {
      const ours = redone(fixture);
      const theirs = restoreBlockImage(fixture.block.image!, fixture.record.lsn);
      const kind = maskKindOf(fixture.record.rmgr, fixture.block.relation.fork)!;
      if (kind === 'heap')
        expect(pageFlags(ours) & PageFlag.allVisible).toBe(pageFlags(theirs) & PageFlag.allVisible);
      for (const page of [ours, theirs]) maskPage(page, kind, fixture.block.block);
      expect(ours.equals(theirs)).toBe(true);
    },
  );

  it('gives the page the position where the record ends', () => {
    expect(pageLsn(redone(insert))).toBe(insert.record.endLsn);
  });

  it('takes an image that is to be applied and leaves the record’s own action', () => {
    const block = { ...insert.block, image: { ...insert.block.image!, apply: true } };
    const page = Buffer.alloc(8192, 0xee);
    redoBlock(page, insert.record, block);
    const theirs = restoreBlockImage(block.image, insert.record.lsn);
    expect(page.subarray(8).equals(theirs.subarray(8))).toBe(true);
    expect(pageLsn(page)).toBe(insert.record.endLsn);
  });

  it('leaves a restored page of zeros without a position', () => {
    const image = {
      bytes: Buffer.alloc(8192),
      holeOffset: 0,
      holeLength: 0,
      apply: true,
      compression: 'none',
    } as const;
    const page = Buffer.alloc(8192, 1);
    redoBlock(page, insert.record, { ...insert.block, image });
    expect(page.equals(Buffer.alloc(8192))).toBe(true);
  });

  it('takes the image of a resource manager without a routine, and finishes what GiST does after it', () => {
    const page = redone(gist);
    expect(page.readUInt32LE(8176) * 2 ** 32 + page.readUInt32LE(8180)).toBe(gist.record.endLsn);
    expect(getGistFlags(page) & 0x08).toBe(0);
  });

  it('refuses such a resource manager without image and says which setting is missing', () => {
    const run = (): void => redoBlock(Buffer.alloc(8192), gist.record, withoutImage(gist.block));
    expect(run).toThrow(UnsupportedWal);
    expect(run).toThrow(
      'Gist info 0x0 block 1 has no page image; start the compute with this resource manager in wal_consistency_checking',
    );
  });

  it('refuses an unknown resource manager', () => {
    const record = { ...insert.record, rmgr: 200 };
    expect(() => redoBlock(Buffer.alloc(8192), record, withoutImage(insert.block))).toThrow('custom200');
    expect(() => redoBlock(Buffer.alloc(8192), { ...record, rmgr: 77 }, insert.block)).toThrow('no blocks');
  });

  it('names record and page when they do not fit', () => {
    const { relation, block } = insert.block;
    const place = `page ${block} of ${relation.tablespace}/${relation.database}/${relation.relation} fork 0`;
    expect(() => redoBlock(Buffer.alloc(8192), insert.record, withoutImage(insert.block))).toThrow(
      `Heap info 0x0 cannot be applied to block 0, ${place}: page header says lower 0`,
    );
  });

  it('is not done twice', () => {
    const page = redone(insert);
    expect(() => redoBlock(page, insert.record, withoutImage(insert.block))).toThrow('page is already at');
  });

  it('clears visibility bits of a map page that newer servers name, and moves its position only then', () => {
    const main = Buffer.from(insert.record.mainData);
    main[2] = 1;
    const heap = { ...insert.block, block: 40 };
    const vm: BlockReference = {
      ...withoutImage(insert.block),
      id: 1,
      relation: { ...heap.relation, fork: 2 },
      block: 0,
    };
    const record: WalRecord = { ...insert.record, mainData: main, blocks: [heap, vm] };
    const page = Buffer.alloc(8192);
    initPage(page, 0);
    redoBlock(page, record, vm);
    expect(pageLsn(page)).toBe(0);
    for (const at of [39, 40]) setVmBits(page, at, 3);
    redoBlock(page, record, vm);
    expect([getVmBits(page, 39), getVmBits(page, 40), pageLsn(page)]).toEqual([3, 0, record.endLsn]);
  });
});

describe('page values', () => {
  const target = insert.block;

  it('rebuild a page from an image and the records after it', () => {
    const page = Buffer.alloc(8192);
    const versions = [
      { lsn: 1, value: { kind: 'image', bytes: insert.before } as const },
      {
        lsn: insert.record.endLsn,
        value: { kind: 'wal', bytes: insert.record.bytes, willInit: false } as const,
      },
    ];
    rebuildPage(page, versions, target);
    expect(page.equals(redone(insert))).toBe(true);
  });

  it('apply small records', () => {
    const page = Buffer.alloc(8192, 0xff);
    applyValue(page, clearVisibility([{ heapBlock: 0, flags: 3 }]), 5, target);
    expect(getVmBits(page, 0)).toBe(0);
  });

  it('refuse a record in the history of a page that it does not name', () => {
    const value = { kind: 'wal', bytes: insert.record.bytes, willInit: false } as const;
    expect(() => applyValue(Buffer.alloc(8192), value, 9, { ...target, block: target.block + 1 })).toThrow(
      'does not name the page',
    );
    expect(() => applyValue(Buffer.alloc(8192), value, 9, undefined)).toThrow(CorruptPageValue);
    expect(() =>
      applyValue(Buffer.alloc(8192), { kind: 'image', bytes: Buffer.alloc(7) }, 9, target),
    ).toThrow('image of 7 bytes');
  });
});
