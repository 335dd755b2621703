/** Parts of PostgreSQL 17 that `coppice test` gets where it can, see tools/coppice/src/test/pg17-extras.ts. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { workspaceRoot } from '../stack/stack';

const run = promisify(execFile);
const DUMP_TIMEOUT_MS = 120_000;
const DUMP_BYTES = 512 * 1024 * 1024;

const cached = (name: string): string => join(workspaceRoot(), '.cache', name);

/** Command line of a client program of PostgreSQL 17 (`pg_dump`, `pg_receivewal`); `undefined` when it was not to be had. */
export function client17(name: string): [string, ...string[]] | undefined {
  const root = cached('pg17-client');
  const program = join(root, 'usr/lib/postgresql/17/bin', name);
  const libraries = existsSync(program) ? libraryDirectory(root) : undefined;
  if (libraries === undefined) return undefined;
  const loader = readdirSync(libraries).find((file) => /^ld-linux.*\.so\.\d$/.test(file));
  return loader === undefined ? undefined : [join(libraries, loader), '--library-path', libraries, program];
}

/** The database as pg_dump 17 writes it, but where sequences stand; `undefined` when there is no pg_dump 17. */
export function pgDump17(uri: string, ...options: string[]): Promise<string> | undefined {
  const command = client17('pg_dump');
  return command && dump([...command, ...options], uri);
}

/** Debian's directory of libraries for this machine's architecture, `usr/lib/<triplet>`. */
function libraryDirectory(root: string): string | undefined {
  const triplet = readdirSync(join(root, 'usr/lib')).find((name) => name.endsWith('-linux-gnu'));
  return triplet && join(root, 'usr/lib', triplet);
}

async function dump([command, ...args]: readonly [string, ...string[]], uri: string): Promise<string> {
  const { stdout } = await run(command, [...args, '--dbname', uri], {
    timeout: DUMP_TIMEOUT_MS,
    maxBuffer: DUMP_BYTES,
  });
  // Sequences are logged ahead of their use. The lines about restricting are keyed by chance.
  return stdout
    .split('\n')
    .filter((line) => !/^SELECT pg_catalog\.setval\(|^\\(un)?restrict /.test(line))
    .join('\n');
}

/** Environment of a stack whose PostgreSQL has pgvector; `undefined` when it could not be built. */
export function withVector(): { readonly COPPICE_PG_BIN: string } | undefined {
  const bin = join(cached('pg17-vector'), 'bin');
  return existsSync(join(bin, 'postgres')) ? { COPPICE_PG_BIN: bin } : undefined;
}
