/**
 * Multixacts: sets of transactions that hold one row. Format: src/include/access/multixact.h.
 *
 *   zero offsets page, zero members page   page i64
 *   create     multixact u32 │ offset u32 │ count i32 │ members: xid u32, status i32 each
 *   truncate   database of the oldest u32 │ offsets from u32, to u32 │ members from u32, to u32
 *
 * Creating writes the multixact's offset, also the next one's (where this one's members end), and the members. Member
 * offsets wrap at 2^32 and skip 0 only as a multixact's start.
 */
import { SLRU_PAGES_PER_SEGMENT, Slru } from '@coppice/vocabulary';
import { setMultixactMembers, setMultixactOffset } from '../redo/small-records';
import type { MultixactMemberAt } from '../redo/small-records';
import {
  MULTIXACT_MEMBERS_PER_PAGE,
  MULTIXACT_OFFSETS_PER_PAGE,
  multixactMemberPageOf,
  multixactOffsetPageOf,
} from '../redo/slru-layout';
import type { MultixactMember } from '../redo/slru-layout';
import type { WalRecord } from '../wal/record';
import { MultixactInfo, RMGR_INFO_MASK } from '../wal/rmgr';
import { pageOf } from './clog';
import type { Effect } from './effects';
import { corruptRecord, readArray, readMainData, unknownRecord } from './main-data';
import { FIRST_MULTIXACT } from './transaction-id';

const MAX_ID = 0xffffffff;
const MAX_STATUS = 5;
const OFFSET_PAGES = 2 ** 32 / MULTIXACT_OFFSETS_PER_PAGE;
const MEMBER_PAGES = 2 ** 32 / MULTIXACT_MEMBERS_PER_PAGE;

export interface MultixactCreate {
  readonly multixact: number;
  readonly offset: number;
  readonly members: readonly MultixactMember[];
}
export interface MultixactTruncate {
  readonly oldestMultiDb: number;
  readonly oldestMulti: number;
  readonly membersFrom: number;
  readonly membersTo: number;
}

/** Undefined for other records. */
export function parseMultixactCreate(record: WalRecord): MultixactCreate | undefined {
  if ((record.info & RMGR_INFO_MASK) !== MultixactInfo.createId) return undefined;
  return readMainData(record, (reader) => {
    const multixact = reader.u32le();
    const offset = reader.u32le();
    const members = readArray(reader, reader.i32le(), 8, (r) => ({ xid: r.u32le(), status: r.i32le() }));
    for (const { status } of members) {
      if (status < 0 || status > MAX_STATUS) throw corruptRecord(record, `multixact member status ${status}`);
    }
    return { multixact, offset, members };
  });
}

/** Undefined for other records. */
export function parseMultixactTruncate(record: WalRecord): MultixactTruncate | undefined {
  if ((record.info & RMGR_INFO_MASK) !== MultixactInfo.truncateId) return undefined;
  return readMainData(record, (reader) => {
    const oldestMultiDb = reader.u32le();
    reader.skip(4);
    return {
      oldestMultiDb,
      oldestMulti: reader.u32le(),
      membersFrom: reader.u32le(),
      membersTo: reader.u32le(),
    };
  });
}

export function multixactEffects(record: WalRecord): readonly Effect[] {
  switch (record.info & RMGR_INFO_MASK) {
    case MultixactInfo.zeroOffPage:
      // Servers before 17.7 create a multixact that ends a page first, and so write to the next page before it is zeroed.
      return [
        {
          kind: 'zero-slru-page',
          slru: Slru.multixactOffsets,
          page: pageOf(record, OFFSET_PAGES),
          unlessThere: true,
        },
      ];
    case MultixactInfo.zeroMemPage:
      return [
        {
          kind: 'zero-slru-page',
          slru: Slru.multixactMembers,
          page: pageOf(record, MEMBER_PAGES),
          unlessThere: false,
        },
      ];
    case MultixactInfo.createId:
      return createEffects(parseMultixactCreate(record)!);
    case MultixactInfo.truncateId:
      return truncateEffects(parseMultixactTruncate(record)!);
    default:
      throw unknownRecord(record, 'an unknown multixact record');
  }
}

function createEffects({ multixact, offset, members }: MultixactCreate): Effect[] {
  const next = multixact === MAX_ID ? FIRST_MULTIXACT : multixact + 1;
  const own = { multixact, offset };
  const following = { multixact: next, offset: (offset + members.length) >>> 0 || 1 };
  const page = multixactOffsetPageOf(multixact);
  const nextPage = multixactOffsetPageOf(next);
  const effects: Effect[] =
    page === nextPage
      ? [
          {
            kind: 'change-slru-page',
            slru: Slru.multixactOffsets,
            page,
            value: setMultixactOffset([own, following]),
          },
        ]
      : [
          { kind: 'change-slru-page', slru: Slru.multixactOffsets, page, value: setMultixactOffset([own]) },
          {
            kind: 'change-slru-page',
            slru: Slru.multixactOffsets,
            page: nextPage,
            value: setMultixactOffset([following]),
          },
        ];
  for (const onPage of membersByPage(offset, members)) {
    effects.push({
      kind: 'change-slru-page',
      slru: Slru.multixactMembers,
      page: multixactMemberPageOf(onPage[0]!.offset),
      value: setMultixactMembers(onPage),
    });
  }
  return effects;
}

function membersByPage(offset: number, members: readonly MultixactMember[]): MultixactMemberAt[][] {
  const pages: MultixactMemberAt[][] = [];
  let page = -1;
  members.forEach(({ xid, status }, index) => {
    const at = (offset + index) >>> 0;
    if (multixactMemberPageOf(at) !== page) {
      page = multixactMemberPageOf(at);
      pages.push([]);
    }
    pages.at(-1)!.push({ offset: at, xid, status });
  });
  return pages;
}

function truncateEffects({ oldestMulti, membersFrom, membersTo }: MultixactTruncate): Effect[] {
  const segmentOf = (memberOffset: number): number =>
    Math.floor(multixactMemberPageOf(memberOffset) / SLRU_PAGES_PER_SEGMENT);
  // One step back: the page of the new oldest multixact may not exist yet.
  const before = oldestMulti === FIRST_MULTIXACT ? MAX_ID : oldestMulti - 1;
  return [
    {
      kind: 'remove-slru-segments',
      slru: Slru.multixactMembers,
      first: segmentOf(membersFrom),
      end: segmentOf(membersTo),
    },
    { kind: 'truncate-slru', slru: Slru.multixactOffsets, cutoffPage: multixactOffsetPageOf(before >>> 0) },
  ];
}
