/**
 * Our redo, run over a server's whole WAL from scratch and compared with PostgreSQL at every step. The server runs with
 * wal_consistency_checking=all, so each block of each record carries the page as PostgreSQL left it.
 *
 *   page before (ours) ──redoBlock──► page after (ours) ──mask──┐
 *   image in the record ─────────────────────────────── ──mask──┴─► must be equal, byte for byte
 *
 * What follows is always built on our page, so a wrong byte that a mask hides still breaks something later.
 */
import {
  type BlockReference,
  type Effect,
  RMGR_INFO_MASK,
  Rmgr,
  type WalRecord,
  applySmallRecord,
  effectsOf,
  maskKindOf,
  redoBlock,
  restoreBlockImage,
  rmgrName,
} from '@coppice/postgres';
import { Fork, formatLsn } from '@coppice/vocabulary';
import type { BasePages } from './base-pages';
import { compareMaps, comparePages } from './compare-pages';
import { PageStore } from './page-store';

/** How many blocks of one kind of record were looked at. */
export interface ReplayCount {
  /** Compared with PostgreSQL's page after our own redo. */
  compared: number;
  /** Taken from an image, as PostgreSQL's own redo would. */
  restored: number;
}

export interface ReplayMismatch {
  readonly record: WalRecord;
  readonly block: BlockReference;
  /** What is wrong, with both pages around the first differing byte. */
  readonly description: string;
}

/** Which compute setting makes these resource managers attach images that redo takes as they are. */
const IMAGE_ONLY: ReadonlySet<number> = new Set([Rmgr.gin, Rmgr.gist, Rmgr.spgist, Rmgr.hash, Rmgr.brin]);
const MAX_MISMATCHES = 50;

export interface PageReplayOptions {
  /** Sees every block before it is changed: for making fixtures. */
  readonly onBlock?: (record: WalRecord, block: BlockReference, before: Buffer) => void;
}

export class PageReplay {
  readonly counts = new Map<string, ReplayCount>();
  readonly mismatches: ReplayMismatch[] = [];
  records = 0;
  readonly #pages: PageStore;
  readonly #expected = Buffer.alloc(8192);
  readonly #ours = Buffer.alloc(8192);

  readonly #options: PageReplayOptions;

  constructor(base: BasePages, options: PageReplayOptions = {}) {
    this.#pages = new PageStore(base);
    this.#options = options;
  }

  /** Pages that this replay holds, for comparing with files afterwards. */
  get pages(): PageStore {
    return this.#pages;
  }

  /** Takes the next record of the WAL, in order. */
  replay(record: WalRecord): void {
    this.records++;
    for (const block of record.blocks) this.#replayBlock(record, block);
    for (const effect of this.#effects(record)) this.#apply(effect);
    if (record.blocks.length === 0) this.#count(record, 'restored', 0);
  }

  #replayBlock(record: WalRecord, block: BlockReference): void {
    const page = this.#pages.forWriting(block.relation, block.block);
    this.#options.onBlock?.(record, block, page);
    try {
      redoBlock(page, record, block);
    } catch (error) {
      this.#mismatch(record, block, `redo failed: ${error instanceof Error ? error.message : String(error)}`);
      this.#adopt(record, block, page);
      return;
    }
    if (isMapWithoutContent(record, block)) this.#pages.markPartialMap(block.relation);
    if (block.image === undefined || block.image.apply || IMAGE_ONLY.has(record.rmgr)) {
      this.#count(record, 'restored', 1);
      return;
    }
    this.#count(record, 'compared', 1);
    restoreBlockImage(block.image, record.lsn, this.#expected);
    page.copy(this.#ours);
    const kind = maskKindOf(record.rmgr, block.relation.fork);
    const difference = this.#pages.isPartialMap(block.relation)
      ? compareMaps(this.#ours, this.#expected)
      : comparePages(this.#ours, this.#expected, kind, block.block);
    if (difference === undefined) return;
    this.#mismatch(record, block, difference);
    this.#adopt(record, block, page);
  }

  /** Goes on with PostgreSQL's page, so that one mistake is reported once. */
  #adopt(record: WalRecord, block: BlockReference, page: Buffer): void {
    if (block.image) restoreBlockImage(block.image, record.lsn, page);
  }

  #mismatch(record: WalRecord, block: BlockReference, what: string): void {
    if (this.mismatches.length >= MAX_MISMATCHES) return;
    const { tablespace, database, relation, fork } = block.relation;
    this.mismatches.push({
      record,
      block,
      description: [
        `${rmgrName(record.rmgr)} info 0x${record.info.toString(16)} at ${formatLsn(record.lsn)} xid ${record.xid},`,
        `block ${block.id}: page ${block.block} of ${tablespace}/${database}/${relation} fork ${fork}`,
        `main data ${record.mainData.toString('hex').slice(0, 200)}`,
        `block data (${block.data.length}) ${block.data.toString('hex').slice(0, 200)}`,
        what,
      ].join('\n'),
    });
  }

  #count(record: WalRecord, what: keyof ReplayCount, by: number): void {
    const op = opName(record);
    let count = this.counts.get(op);
    if (!count) this.counts.set(op, (count = { compared: 0, restored: 0 }));
    count[what] += by;
  }

  #effects(record: WalRecord): readonly Effect[] {
    // Tablespaces and commit timestamps are refused by ingest; they change no page.
    if (record.rmgr === Rmgr.tblspc || record.rmgr === Rmgr.commitTs) return [];
    return effectsOf(record);
  }

  #apply(effect: Effect): void {
    switch (effect.kind) {
      case 'change-page': {
        const page = this.#pages.ifThere(effect.fork, effect.block);
        if (page) applySmallRecord(page, effect.value.bytes);
        return;
      }
      case 'truncate':
        this.#pages.truncate(effect.file, effect.blocks, effect.forks);
        return;
      case 'drop-relations':
        for (const file of effect.files) this.#pages.drop(file);
        return;
      case 'copy-database':
        this.#pages.copyDatabase(effect.from, effect.to);
        return;
      case 'drop-database':
        for (const place of effect.places) this.#pages.dropDatabase(place);
        return;
      default:
    }
  }
}

/**
 * CREATE DATABASE logs copied pages as standard ones, so the image of a visibility map page leaves its bits out as a hole.
 * No standby gets them, and neither do we: from then on such a map may lack bits (which is safe), never have more.
 */
function isMapWithoutContent(record: WalRecord, block: BlockReference): boolean {
  return record.rmgr === Rmgr.xlog && block.relation.fork === Fork.vm && (block.image?.holeLength ?? 0) > 0;
}

/** `Heap 0x20+0x80`: resource manager and its own info bits. */
export function opName(record: Pick<WalRecord, 'rmgr' | 'info'>): string {
  return `${rmgrName(record.rmgr)} 0x${(record.info & RMGR_INFO_MASK).toString(16).padStart(2, '0')}`;
}
