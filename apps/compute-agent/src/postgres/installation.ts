/**
 * The PostgreSQL that computes run: a copy of the installed one (hard links where the file system allows), in a place
 * that the unprivileged user can reach, with two changes to files that are text:
 *
 *   <extension>.control         `trusted = true` for extensions that give no access to files, processes or other users'
 *                               data: a project's owner, who is no superuser, can create them
 *   postgres_fdw--1.0.sql       its creator may also use the wrapper
 */
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CoppiceError } from '@coppice/service-kit';

/** Part of the copy's name: a change in what is changed makes a new copy. */
const REVISION = 1;

/** Beside those that PostgreSQL itself marks as trusted. */
const TRUSTED_EXTENSIONS = [
  'autoinc', 'bloom', 'earthdistance', 'insert_username', 'intagg', 'moddatetime', 'pg_stat_statements', 'pgrowlocks', 'pgstattuple', 'postgres_fdw',
  'sslinfo', 'vector',
] as const;

export interface Installation {
  /** Directory of `postgres` and `initdb`. */
  readonly binDirectory: string;
}

/** Copies the installation of `sourceBin` below `directory` unless that was done before. */
export function prepareInstallation(sourceBin: string, directory: string): Installation {
  if (!existsSync(join(sourceBin, 'postgres'))) {
    throw new CoppiceError('Invalid', 'no-postgres', `${sourceBin} has no postgres`, { remedy: 'Set COPPICE_PG_BIN to the bin directory of a PostgreSQL 17.' });
  }
  const source = dirname(sourceBin);
  // A distribution spreads an installation over the file system; it is readable for everybody and used as it is.
  if (!existsSync(join(source, 'share'))) return { binDirectory: sourceBin };
  const of = createHash('sha256').update(`${sourceBin} ${statSync(join(sourceBin, 'postgres')).mtimeMs}`).digest('hex');
  const target = join(directory, `pg17-${of.slice(0, 8)}-${REVISION}`);
  if (!existsSync(target)) {
    const beside = `${target}.new-${process.pid}`;
    rmSync(beside, { recursive: true, force: true });
    for (const part of ['bin', 'lib', 'share']) linkTree(join(source, part), join(beside, part));
    trustExtensions(join(beside, 'share', 'postgresql', 'extension'));
    renameSync(beside, target);
  }
  return { binDirectory: join(target, 'bin') };
}

/** Copies the interposer to where the unprivileged user can reach it, anew at every start. */
export function installInterposer(source: string, directory: string): string {
  if (!existsSync(source)) throw new CoppiceError('Invalid', 'no-interposer', `${source} does not exist`, { remedy: 'Build the compute agent: npx nx build compute-agent.' });
  const target = join(directory, 'interposer.so');
  const beside = `${target}.new-${process.pid}`;
  copyFileSync(source, beside);
  chmodSync(beside, 0o755);
  renameSync(beside, target);
  return target;
}

function linkTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true, mode: 0o755 });
  for (const name of readdirSync(from)) {
    const [source, target] = [join(from, name), join(to, name)];
    const status = lstatSync(source);
    if (status.isDirectory()) linkTree(source, target);
    else if (status.isSymbolicLink()) symlinkSync(readlinkSync(source), target);
    else linkOrCopy(source, target);
  }
}

function linkOrCopy(source: string, target: string): void {
  try {
    linkSync(source, target);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EXDEV' && code !== 'EPERM' && code !== 'EMLINK') throw error;
    copyFileSync(source, target);
  }
}

function trustExtensions(directory: string): void {
  for (const name of TRUSTED_EXTENSIONS) {
    const path = join(directory, `${name}.control`);
    if (existsSync(path)) changeText(path, (text) => (/^trusted\b/m.test(text) ? text : `${text.trimEnd()}\ntrusted = true\n`));
  }
  const wrapper = join(directory, 'postgres_fdw--1.0.sql');
  if (existsSync(wrapper)) changeText(wrapper, (text) => `${text.trimEnd()}\n\nGRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO @extowner@;\n`);
}

/** Writes a new file in its place: the old one may be a hard link to the installation. */
function changeText(path: string, change: (text: string) => string): void {
  const text = change(readFileSync(path, 'utf8'));
  rmSync(path);
  writeFileSync(path, text, { mode: 0o644 });
}
