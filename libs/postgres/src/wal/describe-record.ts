import { formatLsn } from '@coppice/vocabulary';
import type { BlockReference, WalRecord } from './record';
import { rmgrName } from './rmgr';

/** One line for people: position, chain, transaction, resource manager, lengths, blocks. */
export function describeRecord(record: WalRecord): string {
  const parts = [
    formatLsn(record.lsn),
    `end ${formatLsn(record.endLsn)}`,
    `prev ${formatLsn(record.prev)}`,
    `xid ${record.xid}`,
    `${rmgrName(record.rmgr)} 0x${record.info.toString(16).padStart(2, '0')}`,
    `len ${record.bytes.length}`,
    `main ${record.mainData.length}`,
  ];
  if (record.origin !== 0) parts.push(`origin ${record.origin}`);
  if (record.toplevelXid !== 0) parts.push(`top ${record.toplevelXid}`);
  return [parts.join(' '), ...record.blocks.map(describeBlock)].join(' | ');
}

/** `0: 1663/5/1259.0 blk 3 data 20 fpi 120 HAS_HOLE,APPLY` */
export function describeBlock(block: BlockReference): string {
  const { tablespace, database, relation, fork } = block.relation;
  const image = block.image ? ` fpi ${block.image.bytes.length} ${imageFlags(block).join()}`.trimEnd() : '';
  return `${block.id}: ${tablespace}/${database}/${relation}.${fork} blk ${block.block} data ${block.data.length}${image}`;
}

/** The flags of a block's image in the words and the order of `pg_get_wal_block_info`. */
export function imageFlags({ image }: BlockReference): string[] {
  if (!image) return [];
  const flags = [];
  if (image.holeLength > 0) flags.push('HAS_HOLE');
  if (image.apply) flags.push('APPLY');
  if (image.compression !== 'none') flags.push(`COMPRESS_${image.compression.toUpperCase()}`);
  return flags;
}
