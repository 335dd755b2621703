/**
 * How much shared memory the launcher keeps for servers that are yet to start (launcher/spare-memory.h). What it keeps counts as
 * used memory of the node, so it is given up when that runs short: a compute can do without, not the other way about.
 */
import { BackgroundLoop, type Log } from '@coppice/service-kit';
import { type NodeMemory, readNodeMemory } from './node-memory';

const LOOK_EVERY_MS = 5_000;
/** What one piece takes, and a little: what a server touches when it starts is 12 MB with 32 MB of buffers, 22 MB with 128. */
const PIECE_BYTES = 24 * 1024 * 1024;
/** Of the node's memory for all pieces, at most: what computes may take (node-memory.ts) leaves that. */
const SHARE = 1 / 10;
/** Of the node's memory that is still there for others, at least. */
const SHORT = 0.15;

/** Pieces to keep, `most` of them where there is plenty. Pure. */
export function sparesFor(most: number, { totalBytes, availableBytes }: NodeMemory): number {
  if (availableBytes < totalBytes * SHORT) return 0;
  return Math.min(most, Math.floor((totalBytes * SHARE) / PIECE_BYTES));
}

/** Tells the launcher again and again, as the node's memory is used and becomes free. */
export function keepSpareMemory(most: number, keep: (pieces: number) => void, log: Log): BackgroundLoop {
  return new BackgroundLoop({
    name: 'spare memory',
    everyMs: LOOK_EVERY_MS,
    log,
    run: () => Promise.resolve(keep(sparesFor(most, readNodeMemory()))),
  });
}
