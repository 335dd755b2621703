import type { Layout } from './layout';

/** What turns a directory that was laid out as one layout into another. Done in the order of the fields. */
export interface LayoutChanges {
  readonly removedDirectories: readonly string[];
  readonly removedFiles: readonly string[];
  readonly newDirectories: readonly string[];
  readonly newSparse: readonly (readonly [path: string, size: number])[];
  readonly resized: readonly (readonly [path: string, size: number])[];
  readonly writtenFiles: readonly (readonly [path: string, content: Buffer])[];
}

export function layoutChanges(from: Layout, to: Layout): LayoutChanges {
  const wanted = new Set(to.directories);
  const had = new Set(from.directories);
  const removedDirectories = from.directories.filter((d) => !wanted.has(d));
  const isGone = (path: string): boolean => removedDirectories.some((d) => path.startsWith(`${d}/`));
  const removedFiles: string[] = [];
  for (const path of from.sparse.keys()) if (!to.sparse.has(path) && !to.files.has(path) && !isGone(path)) removedFiles.push(path);
  // A file with content that becomes sparse is made anew.
  for (const path of from.files.keys()) if (!to.files.has(path) && !isGone(path)) removedFiles.push(path);
  const newSparse: [string, number][] = [];
  const resized: [string, number][] = [];
  for (const [path, size] of to.sparse) {
    const before = from.sparse.get(path);
    if (before === undefined) newSparse.push([path, size]);
    else if (before !== size) resized.push([path, size]);
  }
  return {
    removedDirectories,
    removedFiles,
    newDirectories: to.directories.filter((d) => !had.has(d)),
    newSparse,
    resized,
    writtenFiles: [...to.files].filter(([path, content]) => !from.files.get(path)?.equals(content)),
  };
}

/** How many files differ. */
export function changeCount(changes: LayoutChanges): number {
  return changes.removedFiles.length + changes.newSparse.length + changes.resized.length + changes.writtenFiles.length + changes.removedDirectories.length * 300;
}
