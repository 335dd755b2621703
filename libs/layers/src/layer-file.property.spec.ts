import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { CorruptLayer } from './corrupt-layer';
import { LayerBlock, unpackBlock, valueTag } from './layer-block';
import { FOOTER_BYTES, LayerFileWriter, LayerIndex, parseFooter } from './layer-file';
import { OpenLayer } from './open-layer';
import { VersionSearch } from './versions';
import type { Version } from './model/version-model';
import { anyHistory, expectedVersions, testKey } from './model/version-model';

function writeFile(versions: readonly Version[]): Buffer {
  const writer = new LayerFileWriter('delta', 0);
  const inOrder = [...versions].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.lsn - b.lsn));
  for (const { key, lsn, value } of inOrder) writer.add(key, lsn, valueTag(value), value.bytes);
  return writer.finish();
}

function openFile(file: Buffer): { index: LayerIndex; block: (n: number) => LayerBlock } {
  const footer = file.subarray(file.length - FOOTER_BYTES);
  const tail = parseFooter(footer, file.length);
  const index = new LayerIndex(file.subarray(tail.offset, tail.offset + tail.length), footer);
  const block = (n: number): LayerBlock => {
    const { offset, length } = index.place(n);
    return new LayerBlock(unpackBlock(file.subarray(offset, offset + length)));
  };
  return { index, block };
}

function searchFile(file: Buffer, search: VersionSearch): void {
  const { index, block } = openFile(file);
  if (!index.mayContain(search.key)) return;
  for (let n = index.lastBlockFor(search.key, search.lsn); n >= 0 && search.takeFrom(block(n)); n -= 1);
}

const shown = (search: VersionSearch): unknown => search.values.map((value, i) => [search.lsns[i], value]);
const wanted = (versions: Version[]): unknown => versions.map(({ lsn, value }) => [lsn, value]);

describe('layer file and open layer', () => {
  it('give the versions that a search needs, at every LSN, above every floor', () => {
    fc.assert(
      fc.property(anyHistory(20, 120), fc.array(fc.tuple(fc.nat(21), fc.nat(9000), fc.nat(4000)), { minLength: 20 }), (history, asks) => {
        const file = writeFile(history);
        const open = new OpenLayer(100);
        for (const { key, lsn, value } of history) open.put(key, lsn, value);
        for (const [n, lsn, floor] of asks) {
          const inFile = new VersionSearch(testKey(n), lsn);
          const inMemory = new VersionSearch(testKey(n), lsn);
          inFile.floor = inMemory.floor = floor;
          searchFile(file, inFile);
          open.search(inMemory);
          const expected = wanted(expectedVersions(history, testKey(n), lsn, floor));
          expect(shown(inFile)).toEqual(expected);
          expect(shown(inMemory)).toEqual(expected);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('finds a key whose versions fill many blocks', () => {
    const history = Array.from({ length: 3000 }, (_, i): Version => {
      return { key: testKey(i % 3), lsn: 200 + i, value: { kind: 'wal', bytes: Buffer.alloc(100, i), willInit: i < 3 } };
    });
    const search = new VersionSearch(testKey(1), 3100);
    searchFile(writeFile(history), search);
    expect(shown(search)).toEqual(wanted(expectedVersions(history, testKey(1), 3100)));
    expect(openFile(writeFile(history)).index.blockCount).toBeGreaterThan(5);
  });

  it('reports any damaged byte and never gives a wrong version', () => {
    const history = fc.sample(anyHistory(8, 40), { numRuns: 1, seed: 7 })[0]!;
    const file = writeFile(history);
    fc.assert(
      fc.property(fc.nat(file.length - 17), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(file);
        damaged[at + 16]! ^= flip;
        let reported = false;
        try {
          const { index, block } = openFile(damaged);
          for (let n = 0; n < index.blockCount; n += 1) block(n);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptLayer);
          reported = true;
        }
        expect(reported).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('becomes longer than it was expected to', () => {
    const writer = new LayerFileWriter('delta', 0);
    const values = Array.from({ length: 96 }, () => randomBytes(32 * 1024));
    for (const [n, bytes] of values.entries()) writer.add(testKey(n), 10, 0, bytes);
    const file = writer.finish();
    const { index, block } = openFile(file);
    expect(file.length).toBeGreaterThan(96 * 32 * 1024);
    for (const [n, bytes] of values.entries()) expect(block(index.lastBlockFor(testKey(n), 10)).bytes(0).equals(bytes)).toBe(true);
  });

  it('refuses entries out of order', () => {
    const writer = new LayerFileWriter('delta', 0);
    writer.add(testKey(2), 10, 0, Buffer.alloc(1));
    expect(() => writer.add(testKey(1), 11, 0, Buffer.alloc(1))).toThrow(RangeError);
    expect(() => writer.add(testKey(2), 10, 0, Buffer.alloc(1))).toThrow(RangeError);
  });
});
