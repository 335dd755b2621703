import { type MaskKind, maskPage } from '@coppice/postgres';

/** Masks both pages (in place) and says how they differ; `undefined` when they agree. */
export function comparePages(
  ours: Buffer,
  theirs: Buffer,
  kind: MaskKind | undefined,
  block: number,
): string | undefined {
  if (kind === 'heap') {
    const ALL_VISIBLE = 4;
    const [a, b] = [ours[10]! & ALL_VISIBLE, theirs[10]! & ALL_VISIBLE];
    if (a !== b) return `PD_ALL_VISIBLE is ${a} here and ${b} there`;
  }
  if (kind !== undefined) {
    maskPage(ours, kind, block);
    maskPage(theirs, kind, block);
  }
  if (ours.equals(theirs)) return undefined;
  let at = 0;
  while (ours[at] === theirs[at]) at++;
  const from = Math.max(0, at - (at % 16) - 16);
  const rows = [`first difference at byte ${at} (${describePlace(theirs, at)})`];
  for (const [name, page] of [
    ['ours', ours],
    ['postgres', theirs],
  ] as const) {
    rows.push(`${name} header ${page.toString('hex', 0, 24)}`);
    rows.push(`${name} ${from}: ${page.toString('hex', from, from + 64)}`);
  }
  return rows.join('\n');
}

function describePlace(page: Buffer, at: number): string {
  const header = [
    ['lsn', 8],
    ['checksum', 10],
    ['flags', 12],
    ['lower', 14],
    ['upper', 16],
    ['special', 18],
    ['size', 20],
    ['prune xid', 24],
  ] as const;
  const field = header.find(([, end]) => at < end);
  if (field) return field[0];
  const lower = page.readUInt16LE(12);
  if (at < lower) return `line pointer ${Math.floor((at - 24) / 4) + 1}`;
  if (at >= page.readUInt16LE(16)) return `special space +${at - page.readUInt16LE(16)}`;
  for (let offnum = 1; offnum <= (lower - 24) / 4; offnum++) {
    const pointer = page.readUInt32LE(24 + (offnum - 1) * 4);
    const start = pointer & 0x7fff;
    if (at >= start && at < start + (pointer >>> 17)) return `item ${offnum} +${at - start}`;
  }
  return 'no item';
}

/** Says where a visibility map page of ours has a bit that PostgreSQL's has not; `undefined` when nowhere. */
export function compareMaps(ours: Buffer, theirs: Buffer): string | undefined {
  for (let at = 24; at < ours.length; at++) {
    if (ours[at]! & ~theirs[at]!)
      return `visibility bits 0x${ours[at]!.toString(16)} at byte ${at}, there 0x${theirs[at]!.toString(16)}`;
  }
  return undefined;
}
