import { BLOCK_SIZE } from '@coppice/vocabulary';
import type { BlockImage } from '../wal/record';
import { DamagedPage, must } from './page-header';

/** Puts a full-page image in `page`, with zeros where its hole was (`RestoreBlockImage`). */
export function restoreImage(page: Buffer, image: BlockImage): void {
  const { bytes, holeOffset, holeLength } = image;
  if (image.compression !== 'none') throw new DamagedPage(`${image.compression} image`);
  must(bytes.length + holeLength === BLOCK_SIZE && holeOffset + holeLength <= BLOCK_SIZE, `image of ${bytes.length} bytes`);
  bytes.copy(page, 0, 0, holeOffset);
  page.fill(0, holeOffset, holeOffset + holeLength);
  bytes.copy(page, holeOffset + holeLength, holeOffset);
}
