/**
 * How much shared memory the launcher keeps for servers that are yet to start (launcher/spare-memory.h). It is given up when the
 * node's memory runs short: a compute can do without, not the other way about.
 */
import { readFileSync } from 'node:fs';
import { BackgroundLoop, type Log } from '@coppice/service-kit';
import { type NodeMemory, readNodeMemory } from './node-memory';

const LOOK_EVERY_MS = 5_000;
/** Of the node's memory, at most. */
const SHARE = 0.1;
/** Of the node's memory, left to others at least. */
const RESERVE = 0.15;
const MEBIBYTE = 1024 * 1024;
/** No memory is promised twice (`OVERCOMMIT_NEVER`, Documentation/mm/overcommit-accounting.rst). */
const NEVER = '2';

/** MiB to keep when `keptBytes` are. Pure. */
export function spareMebibytes(keptBytes: number, { totalBytes, availableBytes }: NodeMemory): number {
  const toBeHad = availableBytes + keptBytes - totalBytes * RESERVE;
  return Math.floor(Math.max(0, Math.min(totalBytes * SHARE, toBeHad)) / MEBIBYTE);
}

/** The node with what is kept: whoever needs that memory has it before long. Pure. */
export function withSpares(node: NodeMemory, keptBytes: number): NodeMemory {
  return { ...node, availableBytes: node.availableBytes + keptBytes };
}

export interface SpareMemoryKeeper {
  readonly spares: { readonly bytes: number };
  keepSpares(pieces: number, mebibytes: number): void;
}

/**
 * Tells the launcher again and again, as the node's memory is used and becomes free. Where the kernel never over-commits there are
 * none: it does not count such memory before it is touched, and a server would learn too late that there is none left.
 */
export function keepSpareMemory(mostPieces: number, launcher: SpareMemoryKeeper, log: Log): BackgroundLoop {
  const most = readFileSync('/proc/sys/vm/overcommit_memory', 'latin1').trim() === NEVER ? 0 : mostPieces;
  return new BackgroundLoop({
    name: 'spare memory',
    everyMs: LOOK_EVERY_MS,
    log,
    run: () => Promise.resolve(launcher.keepSpares(most, spareMebibytes(launcher.spares.bytes, readNodeMemory()))),
  });
}
