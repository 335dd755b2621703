/** For tests: the compute image of a cleanly stopped data directory, and its pages, straight from its files. */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type Checkpoint, decodeControlFile, shutdownCheckpointRecord } from '@coppice/postgres';
import {
  BLOCK_SIZE, BLOCKS_PER_SEGMENT, DEFAULT_TABLESPACE, Fork, type ForkNumber, GLOBAL_TABLESPACE, lsn, type PageKey,
} from '@coppice/vocabulary';
import { placeOf } from '../page-source/placed-pages';
import type { RelationProvider } from '../page-source/relation-files';
import type { ComputeImage, RelationsAtStart, RelationSize } from './compute-image';

const RELATION = /^(?:base\/(\d+)|global)\/(\d+)(_fsm|_vm|_init)?(?:\.(\d+))?$/;
const SLRUS = ['pg_xact', 'pg_multixact/offsets', 'pg_multixact/members'];
const FORKS: Record<string, ForkNumber> = { '': Fork.main, _fsm: Fork.fsm, _vm: Fork.vm, _init: Fork.init };

/** The image at the end of the directory's shutdown checkpoint. */
export function imageOfDirectory(data: string): ComputeImage {
  const control = decodeControlFile(readFileSync(join(data, 'global/pg_control')));
  const end = shutdownCheckpointRecord({ at: control.checkpointLsn, previous: undefined, checkpoint: control.checkpoint, systemIdentifier: control.systemIdentifier }).endLsn;
  const names = readdirSync(data, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => relative(data, join(e.parentPath, e.name)));
  const sizes = new Map<string, RelationSize>();
  const initForks: { tablespace: number; database: number; relation: number; pages: Buffer }[] = [];
  const slruSegments: { slru: number; segment: number; pages: number }[] = [];
  const databases: { tablespace: number; database: number; relationMap: Buffer }[] = [];
  const files: { path: string; content: Buffer }[] = [];
  for (const name of names) {
    const relation = RELATION.exec(name);
    const slru = SLRUS.indexOf(name.slice(0, name.lastIndexOf('/')));
    const bytes = statSync(join(data, name)).size;
    if (relation) {
      const place = relation[1] === undefined ? { tablespace: GLOBAL_TABLESPACE, database: 0 } : { tablespace: DEFAULT_TABLESPACE, database: Number(relation[1]) };
      const fork = FORKS[relation[3] ?? '']!;
      const key = `${place.database}/${relation[2]}/${fork}`;
      const blocks = Math.max(sizes.get(key)?.blocks ?? 0, Number(relation[4] ?? 0) * BLOCKS_PER_SEGMENT + bytes / BLOCK_SIZE);
      sizes.set(key, { ...place, relation: Number(relation[2]), fork, blocks });
      if (fork === Fork.init) initForks.push({ ...place, relation: Number(relation[2]), pages: readFileSync(join(data, name)) });
    } else if (slru >= 0) {
      slruSegments.push({ slru, segment: parseInt(name.slice(name.lastIndexOf('/') + 1), 16), pages: bytes / BLOCK_SIZE });
    } else if (/^(base\/\d+|global)\/pg_filenode.map$/.test(name)) {
      const database = Number(/^base\/(\d+)/.exec(name)?.[1] ?? 0);
      databases.push({ tablespace: database === 0 ? GLOBAL_TABLESPACE : DEFAULT_TABLESPACE, database, relationMap: readFileSync(join(data, name)) });
    } else if (name.startsWith('pg_twophase/')) files.push({ path: name, content: readFileSync(join(data, name)) });
  }
  return {
    lsn: lsn(end),
    previousRecordLsn: lsn(control.checkpointLsn),
    systemIdentifier: control.systemIdentifier,
    checkpoint: checkpointFields(control.checkpoint),
    databases,
    relations: [...sizes.values()],
    logicalBlocks: [...sizes.values()].reduce((sum, { fork, blocks }) => sum + (fork === Fork.main ? blocks : 0), 0),
    logicalIsEstimate: false,
    initForks,
    slruSegments,
    files,
    origins: [],
    warmPages: [],
  };
}

function checkpointFields(c: Checkpoint): ComputeImage['checkpoint'] {
  return {
    nextFullXid: c.nextXid,
    nextOid: c.nextOid,
    nextMulti: c.nextMulti,
    nextMultiOffset: c.nextMultiOffset,
    oldestXid: c.oldestXid,
    oldestXidDatabase: c.oldestXidDb,
    oldestMulti: c.oldestMulti,
    oldestMultiDatabase: c.oldestMultiDb,
    oldestCommitTsXid: c.oldestCommitTsXid,
    newestCommitTsXid: c.newestCommitTsXid,
  };
}

/** The image as a start sees it that nothing is known of in advance, and where it asks for relations. */
export function withoutRelations(image: ComputeImage): { readonly image: ComputeImage; readonly provider: RelationProvider } {
  const meant = (isMeant: (r: { readonly database: number; readonly relation: number }) => boolean): RelationsAtStart => ({
    relations: image.relations.filter(isMeant),
    initForks: image.initForks.filter(isMeant),
  });
  return {
    image: { ...image, relations: [], initForks: [] },
    provider: {
      ofRelation: async ({ database, relation }) => meant((r) => r.database === database && r.relation === relation),
      ofDatabase: async (database) => meant((r) => r.database === database),
      highestOf: async (database) => highestIn(meant((r) => r.database === database)),
    },
  };
}

/** The highest number of a relation. */
export function highestIn({ relations }: RelationsAtStart): number {
  return Math.max(0, ...relations.map(({ relation }) => relation));
}

/** Pages out of the directory's files. */
export function pagesOfDirectory(data: string): (keys: readonly PageKey[]) => Buffer[] {
  return (keys) =>
    keys.map((key) => {
      const { name, block } = placeOf(key);
      const fd = openSync(join(data, name), 'r');
      try {
        if (fstatSync(fd).size < (block + 1) * BLOCK_SIZE) throw new Error(`${name} has no block ${block}`);
        const page = Buffer.alloc(BLOCK_SIZE);
        readSync(fd, page, 0, BLOCK_SIZE, block * BLOCK_SIZE);
        return page;
      } finally {
        closeSync(fd);
      }
    });
}
