/**
 * Resource managers and what their `xl_info` bits say, for PostgreSQL 17 (src/include/access/rmgrlist.h and the
 * `*_xlog.h` headers). The low four bits of `info` belong to the WAL machinery: mask with `RMGR_INFO_MASK` first, and,
 * where a resource manager keeps flags beside its operation, with its `…OpMask`.
 */

export const Rmgr = {
  xlog: 0,
  xact: 1,
  smgr: 2,
  clog: 3,
  dbase: 4,
  tblspc: 5,
  multixact: 6,
  relmap: 7,
  standby: 8,
  heap2: 9,
  heap: 10,
  btree: 11,
  hash: 12,
  gin: 13,
  gist: 14,
  seq: 15,
  spgist: 16,
  brin: 17,
  commitTs: 18,
  replorigin: 19,
  generic: 20,
  logicalmsg: 21,
} as const;
export type RmgrId = (typeof Rmgr)[keyof typeof Rmgr];

/** Greatest id of a built-in resource manager. */
export const RMGR_MAX_BUILTIN = 21;
/** From here on resource managers come from extensions. */
export const RMGR_MIN_CUSTOM = 128;

/** The bits of `xl_info` that belong to the resource manager. */
export const RMGR_INFO_MASK = 0xf0;
/** The record changes files beyond its block references (`XLR_SPECIAL_REL_UPDATE`). */
export const INFO_SPECIAL_REL_UPDATE = 0x01;
/** Every block carries an image of how it must look afterwards (`XLR_CHECK_CONSISTENCY`). */
export const INFO_CHECK_CONSISTENCY = 0x02;

export const XlogInfo = {
  checkpointShutdown: 0x00,
  checkpointOnline: 0x10,
  noop: 0x20,
  nextOid: 0x30,
  switch: 0x40,
  backupEnd: 0x50,
  parameterChange: 0x60,
  restorePoint: 0x70,
  fpwChange: 0x80,
  endOfRecovery: 0x90,
  fpiForHint: 0xa0,
  fpi: 0xb0,
  overwriteContrecord: 0xd0,
  checkpointRedo: 0xe0,
} as const;

export const XACT_OP_MASK = 0x70;
export const XACT_HAS_INFO = 0x80;
export const XactInfo = {
  commit: 0x00,
  prepare: 0x10,
  abort: 0x20,
  commitPrepared: 0x30,
  abortPrepared: 0x40,
  assignment: 0x50,
  invalidations: 0x60,
} as const;

export const SmgrInfo = { create: 0x10, truncate: 0x20 } as const;
export const ClogInfo = { zeroPage: 0x00, truncate: 0x10 } as const;
export const CommitTsInfo = { zeroPage: 0x00, truncate: 0x10 } as const;
export const DbaseInfo = { createFileCopy: 0x00, createWalLog: 0x10, drop: 0x20 } as const;
export const TblspcInfo = { create: 0x00, drop: 0x10 } as const;
export const MultixactInfo = {
  zeroOffPage: 0x00,
  zeroMemPage: 0x10,
  createId: 0x20,
  truncateId: 0x30,
} as const;
export const RelmapInfo = { update: 0x00 } as const;
export const StandbyInfo = { lock: 0x00, runningXacts: 0x10, invalidations: 0x20 } as const;
export const ReploriginInfo = { set: 0x00, drop: 0x10 } as const;
export const SeqInfo = { log: 0x00 } as const;
export const LogicalmsgInfo = { message: 0x00 } as const;

/** Operation bits of heap and heap2 records; the bit left over is `HEAP_INIT_PAGE`. */
export const HEAP_OP_MASK = 0x70;
/** The first tuple of the page: redo makes the page from nothing. */
export const HEAP_INIT_PAGE = 0x80;
export const HeapInfo = {
  insert: 0x00,
  delete: 0x10,
  update: 0x20,
  truncate: 0x30,
  hotUpdate: 0x40,
  confirm: 0x50,
  lock: 0x60,
  inplace: 0x70,
} as const;
export const Heap2Info = {
  rewrite: 0x00,
  pruneOnAccess: 0x10,
  pruneVacuumScan: 0x20,
  pruneVacuumCleanup: 0x30,
  visible: 0x40,
  multiInsert: 0x50,
  lockUpdated: 0x60,
  newCid: 0x70,
} as const;

export const BtreeInfo = {
  insertLeaf: 0x00,
  insertUpper: 0x10,
  insertMeta: 0x20,
  splitL: 0x30,
  splitR: 0x40,
  insertPost: 0x50,
  dedup: 0x60,
  delete: 0x70,
  unlinkPage: 0x80,
  unlinkPageMeta: 0x90,
  newRoot: 0xa0,
  markPageHalfdead: 0xb0,
  vacuum: 0xc0,
  reusePage: 0xd0,
  metaCleanup: 0xe0,
} as const;

export const HashInfo = {
  initMetaPage: 0x00,
  initBitmapPage: 0x10,
  insert: 0x20,
  addOverflowPage: 0x30,
  splitAllocatePage: 0x40,
  splitPage: 0x50,
  splitComplete: 0x60,
  movePageContents: 0x70,
  squeezePage: 0x80,
  delete: 0x90,
  splitCleanup: 0xa0,
  updateMetaPage: 0xb0,
  vacuumOnePage: 0xc0,
} as const;

export const GinInfo = {
  createPtree: 0x10,
  insert: 0x20,
  split: 0x30,
  vacuumPage: 0x40,
  deletePage: 0x50,
  updateMetaPage: 0x60,
  insertListPage: 0x70,
  deleteListPage: 0x80,
  vacuumDataLeafPage: 0x90,
} as const;

export const GistInfo = {
  pageUpdate: 0x00,
  delete: 0x10,
  pageReuse: 0x20,
  pageSplit: 0x30,
  pageDelete: 0x60,
  assignLsn: 0x70,
} as const;

export const SpgistInfo = {
  addLeaf: 0x10,
  moveLeafs: 0x20,
  addNode: 0x30,
  splitTuple: 0x40,
  pickSplit: 0x50,
  vacuumLeaf: 0x60,
  vacuumRoot: 0x70,
  vacuumRedirect: 0x80,
} as const;

export const BRIN_OP_MASK = 0x70;
export const BRIN_INIT_PAGE = 0x80;
export const BrinInfo = {
  createIndex: 0x00,
  insert: 0x10,
  update: 0x20,
  samepageUpdate: 0x30,
  revmapExtend: 0x40,
  desummarize: 0x50,
} as const;

const NAMES: Record<RmgrId, string> = {
  0: 'XLOG',
  1: 'Transaction',
  2: 'Storage',
  3: 'CLOG',
  4: 'Database',
  5: 'Tablespace',
  6: 'MultiXact',
  7: 'RelMap',
  8: 'Standby',
  9: 'Heap2',
  10: 'Heap',
  11: 'Btree',
  12: 'Hash',
  13: 'Gin',
  14: 'Gist',
  15: 'Sequence',
  16: 'SPGist',
  17: 'BRIN',
  18: 'CommitTs',
  19: 'ReplicationOrigin',
  20: 'Generic',
  21: 'LogicalMessage',
};

/** The name that PostgreSQL's own tools print. */
export function rmgrName(id: number): string {
  if (id >= RMGR_MIN_CUSTOM) return `custom${String(id).padStart(3, '0')}`;
  return NAMES[id as RmgrId] ?? `unknown${id}`;
}

/** Whether PostgreSQL could have written a record of this resource manager (`RmgrIdIsValid`). */
export function isRmgrId(id: number): boolean {
  return id <= RMGR_MAX_BUILTIN || (id >= RMGR_MIN_CUSTOM && id <= 255);
}
