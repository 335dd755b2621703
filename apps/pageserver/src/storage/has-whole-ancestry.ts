import { recordEnd } from './record-end';
import type { Timeline } from './timeline';

/**
 * Whether every ancestor has ingested all that the timeline sees of it. After a restart an ancestor may stand before its
 * branch points until somebody reads through it: what it then says of a page is too old.
 */
export function hasWholeAncestry({ ancestor }: Timeline): boolean {
  let seenUpTo = Number.POSITIVE_INFINITY;
  for (let link = ancestor; link !== undefined; link = link.timeline.ancestor) {
    seenUpTo = Math.min(seenUpTo, link.lsn);
    if (link.timeline.finished.lsn < recordEnd(seenUpTo)) return false;
  }
  return true;
}
