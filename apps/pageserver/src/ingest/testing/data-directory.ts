import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { FileChunk } from '../../import/import-files';

/** Every file of a data directory that no server is running on. */
export function* filesOf(dataDirectory: string): Iterable<FileChunk> {
  for (const entry of readdirSync(dataDirectory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const name = relative(dataDirectory, path);
    if (!name.startsWith('pg_wal/')) yield { path: name, content: readFileSync(path) };
  }
}
