/**
 * The second check of redo: at the end, every page of every permanent relation that a cleanly stopped server has in its
 * files must be the page that the replay arrived at, after the same masks.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { MaskKind } from '@coppice/postgres';
import {
  BLOCK_SIZE,
  BLOCKS_PER_SEGMENT,
  DEFAULT_TABLESPACE,
  Fork,
  GLOBAL_TABLESPACE,
  type RelationFork,
} from '@coppice/vocabulary';
import type { TestPostgres } from '../servers/postgres';
import { relationPath } from './base-pages';
import { compareMaps, comparePages } from './compare-pages';
import type { PageStore } from './page-store';

export interface StoredRelation {
  readonly name: string;
  readonly fork: RelationFork;
  readonly kind: MaskKind;
}

export interface FileComparison {
  readonly pages: number;
  readonly differences: readonly string[];
}

const MAX_DIFFERENCES = 20;
const BY_HANDLER: Readonly<Record<string, MaskKind>> = {
  heap_tableam_handler: 'heap',
  bthandler: 'btree',
  ginhandler: 'gin',
  gisthandler: 'gist',
  spghandler: 'spgist',
  hashhandler: 'hash',
  brinhandler: 'brin',
  blhandler: 'generic',
  hnswhandler: 'generic',
  ivfflathandler: 'generic',
};

/** The permanent relations of all databases of a running server that are in the default tablespaces. */
export async function permanentRelations(server: Pick<TestPostgres, 'query'>): Promise<StoredRelation[]> {
  const found: StoredRelation[] = [];
  const databases = await server.query<{ name: string; oid: number }>(
    `select datname as name, oid::int from pg_database where datallowconn and dattablespace = ${DEFAULT_TABLESPACE}`,
  );
  for (const { name: database, oid } of databases) {
    const rows = await server.query<{ name: string; node: number; shared: boolean; method: string | null }>(
      `select c.oid::regclass::text as name, pg_relation_filenode(c.oid)::int as node, c.relisshared as shared, a.amhandler::text as method
       from pg_class c left join pg_am a on a.oid = c.relam
       where c.relpersistence = 'p' and pg_relation_filenode(c.oid) is not null and c.reltablespace in (0, ${GLOBAL_TABLESPACE})`,
      undefined,
      { database },
    );
    for (const { name, node, shared, method } of rows) {
      const kind = method === null ? 'sequence' : BY_HANDLER[method];
      if (kind === undefined)
        throw new Error(`relation ${name} has the unknown access method handler ${method}`);
      const place = shared
        ? { tablespace: GLOBAL_TABLESPACE, database: 0 }
        : { tablespace: DEFAULT_TABLESPACE, database: oid };
      found.push({ name: `${database}.${name}`, fork: { ...place, relation: node, fork: Fork.main }, kind });
      if (kind === 'heap')
        found.push({
          name: `${database}.${name} (vm)`,
          fork: { ...place, relation: node, fork: Fork.vm },
          kind: 'visibility-map',
        });
    }
  }
  return found;
}

/** Compares the files of a stopped server with the replay. Pages that a file holds as zeros were never written. */
export function compareWithFiles(
  dataDirectory: string,
  relations: readonly StoredRelation[],
  store: PageStore,
): FileComparison {
  const differences: string[] = [];
  let pages = 0;
  for (const { name, fork, kind } of relations) {
    for (const { block, page } of filePages(dataDirectory, fork)) {
      const replayed = store.peek(fork, block);
      if (isNew(page) && (replayed === undefined || isNew(replayed))) continue;
      pages++;
      const difference = compareStoredPage(
        { kind, isPartialMap: store.isPartialMap(fork) },
        block,
        replayed,
        page,
      );
      if (difference !== undefined && differences.length < MAX_DIFFERENCES)
        differences.push(`${name} page ${block}: ${difference}`);
    }
  }
  return { pages, differences };
}

/** A page that was never written. */
function isNew(page: Buffer): boolean {
  return page.every((byte) => byte === 0);
}

/** How a page of ours differs from that in a server's file; `undefined` when it does not but in what is never logged. */
export function compareStoredPage(
  { kind, isPartialMap }: { readonly kind: MaskKind; readonly isPartialMap: boolean },
  block: number,
  ours: Buffer | undefined,
  theirs: Buffer,
): string | undefined {
  if (ours === undefined) return 'we have no such page';
  const [a, b] = [Buffer.from(ours), Buffer.from(theirs)];
  if (kind === 'gist' && !sameGistSpecial(a, b)) return 'node sequence number or follow-right flag';
  for (const page of [a, b]) maskUnlogged(page, kind, block);
  return isPartialMap ? compareMaps(a, b) : comparePages(a, b, kind, block);
}

/** What servers keep in files without ever writing it to WAL, and what no mask of PostgreSQL's needs to know. */
function maskUnlogged(page: Buffer, kind: MaskKind, block: number): void {
  if (kind === 'sequence') {
    // The WAL is up to 32 values ahead: last_value i64, log_cnt i64, is_called u8.
    const row = page.readUInt32LE(24) & 0x7fff;
    page.fill(0, row + page[row + 22]!, row + page[row + 22]! + 17);
  }
  // The cache of last used pages in an SP-GiST index's metadata: eight pairs behind a magic number.
  if (kind === 'spgist' && block === 0) page.fill(0, 28, 28 + 8 * 8);
}

/** What the mask of GiST pages hides, because it is set after the record is written: it must be right in the end. */
function sameGistSpecial(a: Buffer, b: Buffer): boolean {
  const FOLLOW_RIGHT = 0x08;
  const special = BLOCK_SIZE - 16;
  const sameSequence =
    a.equals(b) || a.subarray(special, special + 8).equals(b.subarray(special, special + 8));
  return sameSequence && ((a[special + 12]! ^ b[special + 12]!) & FOLLOW_RIGHT) === 0;
}

/** The pages of a relation fork in the files of a stopped server, in order. */
export function* filePages(
  dataDirectory: string,
  fork: RelationFork,
): Generator<{ block: number; page: Buffer }> {
  for (let segment = 0; ; segment++) {
    const first = segment * BLOCKS_PER_SEGMENT;
    const path = relationPath(fork, first);
    const file = path === undefined ? undefined : openIfThere(join(dataDirectory, path));
    if (file === undefined) return;
    try {
      for (let block = first; block < first + BLOCKS_PER_SEGMENT; block++) {
        const page = Buffer.alloc(BLOCK_SIZE);
        if (readSync(file, page, 0, BLOCK_SIZE, (block - first) * BLOCK_SIZE) !== BLOCK_SIZE) return;
        yield { block, page };
      }
    } finally {
      closeSync(file);
    }
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
