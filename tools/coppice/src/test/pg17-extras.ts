/**
 * What the tests like to have of PostgreSQL 17 beyond the bundled server, kept in `.cache/`:
 *
 *   pg17-client/    Debian's client programs with the libraries they need, run through their own loader
 *   pg17-vector/    a copy of the bundled server with pgvector compiled into it
 *
 * Both are made once. Tests do without what could not be made.
 */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { postgresBin } from '../machine';
import { NewerDebian } from './newer-debian';

const CACHE = resolve('.cache');
const CLIENT = join(CACHE, 'pg17-client');
const VECTOR = join(CACHE, 'pg17-vector');

const CLIENT_PACKAGES = [
  'postgresql-client-17',
  'libpq5',
  'libc6',
  'libgcc-s1',
  'libssl3t64',
  'libzstd1',
  'liblz4-1',
  'libxxhash0',
  'zlib1g',
  'libgssapi-krb5-2',
  'libkrb5-3',
  'libkrb5support0',
  'libk5crypto3',
  'libcom-err2',
  'libkeyutils1',
  'libldap2',
  'libsasl2-2',
];
/** As pgvector's own Makefile has them. */
const VECTOR_FLAGS = [
  '-O2',
  '-ftree-vectorize',
  '-fassociative-math',
  '-fno-signed-zeros',
  '-fno-trapping-math',
];

const EXTRAS = [
  {
    for: 'pg_dump of PostgreSQL 17',
    present: () => existsSync(CLIENT),
    make: () => whole(CLIENT, makeClient),
  },
  { for: 'pgvector', present: vectorIsCurrent, make: () => whole(VECTOR, makeVector) },
];

const debian = new NewerDebian(join(CACHE, 'debian'));

/** Makes what is missing and can be made; says what cannot. */
export function preparePg17Extras(): void {
  for (const extra of EXTRAS) {
    try {
      if (extra.present()) continue;
      console.log(`== getting ${extra.for}`);
      extra.make();
    } catch (error) {
      console.log(`no ${extra.for}: ${(error as Error).message}; tests do without it`);
    }
  }
  debian.tidy();
}

/** Makes `target` beside its place, so that it is there whole or not at all. */
function whole(target: string, make: (beside: string) => void): void {
  const beside = `${target}.new`;
  rmSync(beside, { recursive: true, force: true });
  try {
    make(beside);
    rmSync(target, { recursive: true, force: true });
    renameSync(beside, target);
  } finally {
    rmSync(beside, { recursive: true, force: true });
  }
}

function makeClient(directory: string): void {
  debian.unpack(CLIENT_PACKAGES, directory);
}

/** Whether the copy is of the server that tests run otherwise. */
function vectorIsCurrent(): boolean {
  const copy = join(VECTOR, 'bin/postgres');
  return existsSync(copy) && statSync(copy).size === statSync(join(postgresBin(), 'postgres')).size;
}

function makeVector(directory: string): void {
  const installed = dirname(postgresBin());
  const work = join(CACHE, 'pgvector');
  try {
    debian.unpack(['postgresql-server-dev-17'], join(work, 'headers'));
    const sources = debian.unpackSource('pgvector', join(work, 'src'));
    for (const part of ['bin', 'lib', 'share'])
      cpSync(join(installed, part), join(directory, part), { recursive: true, verbatimSymlinks: true });
    compile(
      sources,
      join(work, 'headers/usr/include/postgresql/17/server'),
      join(directory, 'lib/postgresql/vector.so'),
    );
    installScripts(sources, join(directory, 'share/postgresql/extension'));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function compile(sources: string, headers: string, output: string): void {
  const files = readdirSync(join(sources, 'src')).filter((name) => name.endsWith('.c'));
  const args = [...VECTOR_FLAGS, '-fPIC', '-shared', '-w', '-I', headers, '-o', output, ...files, '-lm'];
  const { status, stderr, error } = spawnSync('cc', args, { cwd: join(sources, 'src'), encoding: 'utf8' });
  if (status !== 0)
    throw new Error(`pgvector does not compile: ${(error?.message ?? stderr).split('\n')[0]}`);
}

function installScripts(sources: string, extensions: string): void {
  const control = readFileSync(join(sources, 'vector.control'), 'utf8');
  const version = /default_version = '([^']+)'/.exec(control)?.[1];
  copyFileSync(join(sources, 'vector.control'), join(extensions, 'vector.control'));
  copyFileSync(join(sources, 'sql/vector.sql'), join(extensions, `vector--${version}.sql`));
}
