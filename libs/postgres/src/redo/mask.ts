/**
 * Which bytes of a page may differ between a server and what its WAL says: hint bits, unused space, the LSN and so on. The
 * rules are PostgreSQL's own for wal_consistency_checking (src/backend/access/common/bufmask.c and each `*_mask`); two
 * pages that agree after masking agree.
 *
 * Masking zeroes in place, so a masked page is of no further use. Visibility map and free space map pages are masked as
 * such whatever changed them: PostgreSQL would take their map for a hole and compare nothing.
 */
import { BLOCK_SIZE } from '@coppice/vocabulary';
import { getFlags as getBtreeFlags, setCycleId, setFlags as setBtreeFlags, BtreeFlag } from './nbtree-tuple';
import { GistFlag, getGistFlags, setGistFlags, setNodeSequence } from './gist';
import {
  INFOMASK_TRANSACTION_BITS,
  Infomask,
  getInfomask,
  isSpeculative,
  setCtid,
  setInfomask,
  setXvac,
} from './heap-tuple';
import {
  ItemFlag,
  PAGE_HEADER_BYTES,
  PageFlag,
  align8,
  itemFlags,
  itemLength,
  itemOffset,
  linePointerAt,
  maxOffset,
  must,
  pageLower,
  pageSpecial,
  pageUpper,
  setLinePointer,
  setPageChecksum,
  setPageFlag,
  setPageLower,
  setPageLsn,
  setPagePruneXid,
  setPageUpper,
} from './page-header';

/** How a page is masked: by what kind of relation fork it belongs to. */
export type MaskKind =
  | 'heap'
  | 'btree'
  | 'gin'
  | 'gist'
  | 'spgist'
  | 'hash'
  | 'brin'
  | 'sequence'
  | 'generic'
  | 'visibility-map'
  | 'free-space-map';

const XMIN_FROZEN = Infomask.xminCommitted | Infomask.xminInvalid;

const MASKS: Record<MaskKind, (page: Buffer, block: number) => void> = {
  heap: maskHeap,
  btree: maskBtree,
  gin: maskGin,
  gist: maskGist,
  spgist: maskSpgist,
  hash: maskHash,
  brin: maskBrin,
  sequence: maskHole,
  generic: maskHole,
  'visibility-map': () => {},
  'free-space-map': maskFreeSpaceMap,
};

/** Zeroes in place what may differ on the page of block number `block`. A page of zeros stays as it is. */
export function maskPage(page: Buffer, kind: MaskKind, block: number): void {
  if (pageUpper(page) === 0 && pageLower(page) === 0) return;
  setPageLsn(page, 0);
  setPageChecksum(page, 0);
  MASKS[kind](page, block);
}

function maskHints(page: Buffer): void {
  setPagePruneXid(page, 0);
  for (const flag of [PageFlag.full, PageFlag.hasFreeLines, PageFlag.allVisible])
    setPageFlag(page, flag, false);
}

function maskHole(page: Buffer): void {
  const lower = pageLower(page);
  const upper = pageUpper(page);
  const special = pageSpecial(page);
  must(
    lower >= PAGE_HEADER_BYTES && lower <= upper && upper <= special && special <= BLOCK_SIZE,
    `page header says lower ${lower}, upper ${upper}, special ${special}`,
  );
  page.fill(0, lower, upper);
}

/** Index methods mark items dead without WAL. */
function maskItemFlags(page: Buffer): void {
  const count = maxOffset(page);
  for (let offnum = 1; offnum <= count; offnum++) {
    const pointer = page.readUInt32LE(linePointerAt(offnum));
    setLinePointer(page, offnum, itemOffset(pointer), ItemFlag.unused, itemLength(pointer));
  }
}

function maskContent(page: Buffer): void {
  page.fill(0, PAGE_HEADER_BYTES);
  setPageLower(page, 0);
  setPageUpper(page, 0);
}

function maskHeap(page: Buffer, block: number): void {
  maskHints(page);
  maskHole(page);
  const count = maxOffset(page);
  for (let offnum = 1; offnum <= count; offnum++) {
    const pointer = page.readUInt32LE(linePointerAt(offnum));
    const at = itemOffset(pointer);
    const length = itemLength(pointer);
    if (itemFlags(pointer) === ItemFlag.normal) {
      const infomask = getInfomask(page, at);
      const frozen = (infomask & XMIN_FROZEN) === XMIN_FROZEN;
      setInfomask(
        page,
        at,
        infomask & ~(frozen ? Infomask.xmaxInvalid | Infomask.xmaxCommitted : INFOMASK_TRANSACTION_BITS),
      );
      setXvac(page, at, 0);
      if (isSpeculative(page, at)) setCtid(page, at, block, offnum);
    }
    if (length > 0) page.fill(0, at + length, at + align8(length));
  }
}

function maskBtree(page: Buffer): void {
  maskHints(page);
  maskHole(page);
  const flags = getBtreeFlags(page);
  if (flags & BtreeFlag.leaf) maskItemFlags(page);
  setBtreeFlags(page, flags & ~(BtreeFlag.hasGarbage | BtreeFlag.splitEnd));
  setCycleId(page, 0);
}

/** GIN's special space: right link u32, maxoff u16, flags u16. */
function maskGin(page: Buffer): void {
  const DELETED = 0x04;
  maskHints(page);
  if (page.readUInt16LE(pageSpecial(page) + 6) & DELETED) maskContent(page);
  else if (pageLower(page) > PAGE_HEADER_BYTES) maskHole(page);
}

function maskGist(page: Buffer): void {
  maskHints(page);
  maskHole(page);
  setNodeSequence(page, 0);
  const flags = getGistFlags(page);
  if (flags & GistFlag.leaf) maskItemFlags(page);
  setGistFlags(page, (flags | GistFlag.followRight) & ~GistFlag.hasGarbage);
}

function maskSpgist(page: Buffer): void {
  maskHints(page);
  if (pageLower(page) >= PAGE_HEADER_BYTES) maskHole(page);
}

/** Hash's special space: previous u32, next u32, bucket u32, flags u16, page id u16. */
function maskHash(page: Buffer): void {
  const TYPE = 0x0f;
  const OVERFLOW = 0x01;
  const BUCKET = 0x02;
  const HAS_DEAD_TUPLES = 0x80;
  maskHints(page);
  maskHole(page);
  const at = pageSpecial(page) + 12;
  const flags = page.readUInt16LE(at);
  const type = flags & TYPE;
  if (type === 0) {
    maskContent(page);
    return;
  }
  if (type === BUCKET || type === OVERFLOW) maskItemFlags(page);
  page.writeUInt16LE(flags & ~HAS_DEAD_TUPLES, at);
}

/** BRIN's last eight bytes: pad, flags u16 at 4, page type u16 at 6. */
function maskBrin(page: Buffer): void {
  const META = 0xf091;
  const REGULAR = 0xf093;
  const EVACUATE = 0x01;
  maskHints(page);
  const type = page.readUInt16LE(pageSpecial(page) + 6);
  if (type === REGULAR || (type === META && pageLower(page) > PAGE_HEADER_BYTES)) maskHole(page);
  const at = pageSpecial(page) + 4;
  page.writeUInt16LE(page.readUInt16LE(at) & ~EVACUATE, at);
}

/** The free space map is a hint altogether: it is never WAL-logged except as images. */
function maskFreeSpaceMap(page: Buffer): void {
  maskContent(page);
}
