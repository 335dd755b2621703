import { BLOCK_SIZE, type LsnNumber } from '@coppice/vocabulary';
import { CorruptWal, UnsupportedWal } from '../wal/corrupt-wal';
import type { BlockImage } from '../wal/record';
import { pglzDecompress } from './pglz';

const unpacked = Buffer.alloc(BLOCK_SIZE);

/**
 * The page that a full-page image stands for, with its hole zeroed, written over `page` (a new buffer unless given).
 * `lsn` is for errors: `CorruptWal` when it does not decompress to a page, `UnsupportedWal` for lz4 and zstd, which a
 * compute is never configured to write.
 */
export function restoreBlockImage(
  image: BlockImage,
  lsn: LsnNumber,
  page: Buffer = Buffer.allocUnsafe(BLOCK_SIZE),
): Buffer {
  const { holeOffset, holeLength } = image;
  const bytes = image.compression === 'none' ? image.bytes : decompress(image, lsn);
  bytes.copy(page, 0, 0, holeLength === 0 ? BLOCK_SIZE : holeOffset);
  if (holeLength > 0) {
    page.fill(0, holeOffset, holeOffset + holeLength);
    bytes.copy(page, holeOffset + holeLength, holeOffset);
  }
  return page;
}

function decompress(image: BlockImage, lsn: LsnNumber): Buffer {
  if (image.compression !== 'pglz') {
    throw new UnsupportedWal(
      lsn,
      `page image is compressed with ${image.compression}; set wal_compression to off or pglz`,
    );
  }
  const target = unpacked.subarray(0, BLOCK_SIZE - image.holeLength);
  if (!pglzDecompress(image.bytes, target)) throw new CorruptWal(lsn, 'page image does not decompress');
  return target;
}
