import { closeSync, fsyncSync, openSync } from 'node:fs';
import { StorageFailure } from '@coppice/consensus';

const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** The disk did not keep what it was given: what is in memory may not be what is on disk. Read the timeline anew. */
export class StorageLost extends Error {
  override readonly name = 'StorageLost';
}

/** A full disk is a refusal (nothing was promised); any other trouble means that the disk cannot be trusted. */
export function diskError(what: string, error: unknown): Error {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const text = `${what}: ${(error as Error).message}`;
  return NO_ROOM.has(code)
    ? new StorageFailure(text, { cause: error })
    : new StorageLost(text, { cause: error });
}

/** Makes creations and removals in `directory` durable. */
export function syncDirectorySync(directory: string): void {
  const fd = openSync(directory, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
