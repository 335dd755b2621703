import { recordBoundaryAtOrBefore, WAL_PAGE_SIZE } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import { formatLsn, lsn, maxLsn, minLsn, toLsnNumber, type Lsn } from '@coppice/vocabulary';
import { WalReader } from '../storage/wal-reader';
import type { Timeline } from '../timelines/timeline';

/** The end of the last committed record at or before `position`. */
export async function resolveLsn(timeline: Timeline, position: Lsn): Promise<Lsn> {
  const { startLsn } = timeline;
  if (position < startLsn) {
    throw new CoppiceError(
      'Invalid',
      'before-start',
      `${formatLsn(position)} is before the timeline's start ${formatLsn(startLsn)}`,
      {
        remedy: 'Ask the ancestor timeline.',
      },
    );
  }
  const { commitLsn } = timeline;
  const target = minLsn(position, commitLsn);
  if (target === startLsn || target === commitLsn) return target;
  const release = timeline.use();
  const reader = new WalReader(timeline.directory);
  try {
    const at = toLsnNumber(target);
    const firstPage = pageOf(toLsnNumber(startLsn));
    for (let pages = 1; ; pages *= 4) {
      const page = Math.max(firstPage, pageOf(at) - (pages - 1) * WAL_PAGE_SIZE);
      const found = recordBoundaryAtOrBefore(await readAll(reader, lsn(page), target), page, at);
      if (found !== undefined) return maxLsn(lsn(found), startLsn);
      if (page === firstPage) return startLsn;
    }
  } finally {
    release();
    await reader.close();
  }
}

function pageOf(at: number): number {
  return at - (at % WAL_PAGE_SIZE);
}

async function readAll(reader: WalReader, from: Lsn, to: Lsn): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let at = from; at < to; at = (at + BigInt(parts.at(-1)!.length)) as Lsn)
    parts.push(await reader.read(at, to, 1024 * 1024));
  return Buffer.concat(parts);
}
