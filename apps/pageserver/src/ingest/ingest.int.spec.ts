import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  WalStreamDecoder,
  dataFileOf,
  decodeCheckpointState,
  decodeControlFile,
  decodeRelationSize,
  decodeSlruSegmentSize,
  nextFullXid,
  shutdownCheckpointRecord,
} from '@coppice/postgres';
import type { WalRecord } from '@coppice/postgres';
import {
  afterTheCrash,
  captureWal,
  compareWithFiles,
  permanentRelations,
  preparePostgres,
  richWorkload,
} from '@coppice/testing';
import type { StoredRelation, TestPostgres } from '@coppice/testing';
import {
  BLOCK_SIZE,
  CHECKPOINT_KEY,
  Fork,
  KeyKind,
  pageKeyFields,
  relationBlockKey,
  relationMapKey,
  relationOfKey,
  relationSizeKey,
  slruPageKey,
  slruSegmentSizeKey,
} from '@coppice/vocabulary';
import type { PageKey, RelationFork } from '@coppice/vocabulary';
import { computeImage } from '../image/compute-image';
import { allRelations } from '../image/relations';
import { importFiles } from '../import/import-files';
import { kindRange } from './key-ranges';
import { filesOf } from './testing/data-directory';
import { MemoryTarget } from './testing/memory-target';
import { TimelineIngest } from './timeline-ingest';

const SETTINGS = {
  full_page_writes: false,
  wal_keep_size: '4GB',
  autovacuum: false,
  wal_consistency_checking: 'gin,gist,spgist,hash,brin',
};

/** What the server has at the end, and what ingest made of its WAL. */
interface Outcome {
  readonly server: TestPostgres;
  readonly directory: string;
  readonly target: MemoryTarget;
  readonly lsn: number;
  readonly relations: readonly StoredRelation[];
  readonly records: number;
}

async function run(): Promise<Outcome> {
  const server = await preparePostgres({ settings: SETTINGS });
  try {
    return await runOn(server);
  } catch (error) {
    await server.dispose();
    throw error;
  }
}

async function runOn(server: TestPostgres): Promise<Outcome> {
  const target = new MemoryTarget();
  const imported = await importFiles(filesOf(server.dataDirectory));
  for (const [key, bytes] of imported.entries) target.put(key, imported.lsn, { kind: 'image', bytes });
  target.logicalBlocks = imported.logicalBlocks;
  await server.start();
  await richWorkload(server);
  await server.kill9();
  await server.start();
  await afterTheCrash(server);
  const relations = await permanentRelations(server);
  await server.stop('fast');
  const { checkpointLsn: at, ...control } = decodeControlFile(
    readFileSync(join(server.dataDirectory, 'global/pg_control')),
  );
  const { endLsn } = shutdownCheckpointRecord({ ...control, at, previous: undefined });
  const records = await ingest(server, target, imported.lsn, endLsn);
  return { server, directory: server.dataDirectory, target, lsn: target.finished.endLsn, relations, records };
}

async function ingest(server: TestPostgres, target: MemoryTarget, from: number, to: number): Promise<number> {
  const timeline = await TimelineIngest.start(target, from);
  const decoder = new WalStreamDecoder(from);
  let count = 0;
  for await (const chunk of captureWal(server, from, to)) {
    const records: WalRecord[] = [];
    decoder.push(chunk, (record) => records.push(record));
    for (const record of records) await timeline.apply(record);
    count += records.length;
  }
  return count;
}

describe('a timeline ingested from the WAL of a rich workload', () => {
  let outcome: Outcome;
  beforeAll(async () => {
    outcome = await run();
    process.stdout.write(
      `ingested ${outcome.records} records, ${outcome.target.puts} values, ${outcome.target.versions.size} keys\n`,
    );
  }, 300_000);
  afterAll(() => outcome?.server.dispose());

  it('has the relation forks that the data directory has, with their sizes', () => {
    const onDisk = forksOnDisk(outcome.directory);
    const ours = forksIn(outcome.target, outcome.lsn);
    const differences: string[] = [];
    for (const [key, disk] of onDisk) {
      const blocks = ours.get(key);
      if (blocks === undefined && isEmptyMap(disk)) continue;
      if (blocks === undefined) differences.push(`${describeFork(disk.fork)} is not there`);
      else if (blocks > disk.content.length / BLOCK_SIZE)
        differences.push(
          `${describeFork(disk.fork)} has ${blocks} blocks, not ${disk.content.length / BLOCK_SIZE}`,
        );
      // A server extends files by more than it needs; what WAL never names is zeros.
      else if (disk.content.subarray(blocks * BLOCK_SIZE).some((byte) => byte !== 0))
        differences.push(`${describeFork(disk.fork)} lacks its end`);
    }
    for (const key of ours.keys())
      if (!onDisk.has(key)) differences.push(`${describeFork(relationOfKey(key))} should be gone`);
    expect(onDisk.size).toBeGreaterThan(900);
    expect(differences).toEqual([]);
  });

  it('has every page as the data directory has it, but for what PostgreSQL does not log', () => {
    const { pages, differences } = compareWithFiles(outcome.directory, outcome.relations, storeOf(outcome));
    process.stdout.write(`compared ${pages} relation pages\n`);
    expect(differences).toEqual([]);
    expect(pages).toBeGreaterThan(3500);
  });

  it('has the pages of every SLRU byte for byte', () => {
    const differences: string[] = [];
    const segments = new Set<PageKey>();
    for (const { path, content } of filesOf(outcome.directory)) {
      const file = dataFileOf(path);
      if (file?.kind !== 'slru') continue;
      const key = slruSegmentSizeKey(file.slru, file.segment);
      segments.add(key);
      const size = outcome.target.peek(key, outcome.lsn);
      if (!size || decodeSlruSegmentSize(size) !== content.length / BLOCK_SIZE)
        differences.push(
          `${path} is ${size?.readUInt32LE() ?? 'absent'}, not ${content.length / BLOCK_SIZE}`,
        );
      for (let page = 0; page < content.length / BLOCK_SIZE; page++) {
        const ours =
          outcome.target.page(slruPageKey(file.slru, file.segment * 32 + page), outcome.lsn) ??
          Buffer.alloc(BLOCK_SIZE);
        if (!ours.equals(content.subarray(page * BLOCK_SIZE, (page + 1) * BLOCK_SIZE)))
          differences.push(`${path} page ${page}`);
      }
    }
    const [from, to] = kindRange(KeyKind.slruSegmentSize);
    for (const key of outcome.target.versions.keys()) {
      if (key >= from && key < to && outcome.target.peek(key, outcome.lsn) && !segments.has(key))
        differences.push(`segment ${JSON.stringify(pageKeyFields(key))} should be gone`);
    }
    expect(differences).toEqual([]);
    expect(segments.size).toBeGreaterThanOrEqual(3);
  });

  it('has the relation maps and the databases', () => {
    const { directory, target, lsn } = outcome;
    const oids = readdirSync(join(directory, 'base'))
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
    for (const oid of oids) {
      expect(target.peek(relationMapKey(1663, oid), lsn)).toEqual(
        readFileSync(join(directory, `base/${oid}/pg_filenode.map`)),
      );
    }
    expect(target.peek(relationMapKey(1664, 0), lsn)).toEqual(
      readFileSync(join(directory, 'global/pg_filenode.map')),
    );
    const [from, to] = kindRange(KeyKind.database);
    const ours = [...target.versions.keys()]
      .filter((key) => key >= from && key < to && target.peek(key, lsn))
      .map((key) => pageKeyFields(key).database);
    expect(ours.sort((a, b) => a - b)).toEqual([0, ...oids].sort((a, b) => a - b));
  });

  it('has the counters of the last checkpoint', () => {
    const { checkpoint, checkpointLsn, systemIdentifier } = decodeControlFile(
      readFileSync(join(outcome.directory, 'global/pg_control')),
    );
    const state = decodeCheckpointState(outcome.target.peek(CHECKPOINT_KEY, outcome.lsn)!);
    expect(nextFullXid(state)).toBe(checkpoint.nextXid);
    const {
      nextOid,
      nextMulti,
      nextMultiOffset,
      oldestXid,
      oldestXidDb,
      oldestMulti,
      oldestMultiDb,
      walLevel,
    } = checkpoint;
    expect(state).toMatchObject({
      systemIdentifier,
      nextOid,
      nextMulti,
      nextMultiOffset,
      oldestXid,
      oldestXidDb,
      oldestMulti,
      oldestMultiDb,
      walLevel,
    });
    expect(state).toMatchObject({ recordLsn: checkpointLsn, recordEndLsn: outcome.lsn });
  });

  it('makes an image with the prepared transactions and origins of the data directory', async () => {
    const files = new Map<string, Buffer>();
    const origins: [number, bigint][] = [];
    let initForks = 0;
    for await (const part of computeImage(outcome.target, {
      lsn: outcome.lsn,
      logicalSize: { bytes: 0, isEstimate: false },
    })) {
      if (part.kind === 'file') files.set(part.value.path, part.value.content);
      if (part.kind === 'origin') origins.push([part.value.originId, part.value.remoteLsn]);
    }
    for await (const part of allRelations(outcome.target, outcome.lsn)) {
      if (part.kind === 'initFork') {
        initForks += 1;
        const { database, relation, pages } = part.value;
        expect(pages).toEqual(readFileSync(join(outcome.directory, `base/${database}/${relation}_init`)));
      }
    }
    const prepared = readdirSync(join(outcome.directory, 'pg_twophase'));
    expect(prepared).toHaveLength(1);
    for (const name of prepared) {
      expect(files.get(`pg_twophase/${name}`)).toEqual(
        readFileSync(join(outcome.directory, 'pg_twophase', name)),
      );
    }
    expect(files.get('pg_replslot/kept/state')?.toString()).toBe('slot state');
    expect([...files.keys()]).not.toContain('postgresql.auto.conf');
    expect(origins).toEqual([[1, 0x23456n]]);
    expect(initForks).toBeGreaterThanOrEqual(3);
  });

  it('counts the blocks of main forks as they come and go', () => {
    let blocks = 0;
    for (const [key, size] of forksIn(outcome.target, outcome.lsn))
      if (relationOfKey(key).fork === Fork.main) blocks += size;
    expect(outcome.target.logicalBlocks).toBe(blocks);
  });
});

/** A page of a visibility map that says nothing: servers extend the fork before they set a bit, without WAL. */
const VM_HEADER = Buffer.from('000000000000000000000000180000200020042000000000', 'hex');
const EMPTY_VM_PAGE = Buffer.concat([VM_HEADER, Buffer.alloc(BLOCK_SIZE - VM_HEADER.length)]);

type ComparedStore = Parameters<typeof compareWithFiles>[2];

function storeOf({ target, lsn, relations }: Outcome): ComparedStore {
  const peek = (fork: RelationFork, block: number): Buffer | undefined =>
    target.page(relationBlockKey(fork, block), lsn) ?? (fork.fork === Fork.vm ? EMPTY_VM_PAGE : undefined);
  // A database copied through WAL logs its maps as pages with a hole, and the hole is all of the map.
  const logged = relations.filter(({ name }) => name.startsWith('logged.') || name.startsWith('third_copy.'));
  const databases = new Set(logged.map(({ fork }) => fork.database));
  const isPartialMap = (fork: RelationFork): boolean => fork.fork === Fork.vm && databases.has(fork.database);
  return { peek, isPartialMap } as unknown as ComparedStore;
}

interface ForkOnDisk {
  readonly fork: RelationFork;
  readonly content: Buffer;
}

/** Permanent forks but free space maps, which are hints that WAL hardly names. */
function forksOnDisk(directory: string): Map<PageKey, ForkOnDisk> {
  const forks = new Map<PageKey, ForkOnDisk>();
  for (const { path, content } of filesOf(directory)) {
    const file = dataFileOf(path);
    if (file?.kind === 'relation' && file.fork.fork !== Fork.fsm)
      forks.set(relationSizeKey(file.fork), { fork: file.fork, content });
  }
  for (const { fork } of [...forks.values()]) {
    if (fork.fork !== Fork.init) continue;
    for (const other of [Fork.main, Fork.vm]) forks.delete(relationSizeKey({ ...fork, fork: other }));
  }
  return forks;
}

function isEmptyMap({ fork, content }: ForkOnDisk): boolean {
  return (
    fork.fork === Fork.vm && content.every((byte, at) => at % BLOCK_SIZE < VM_HEADER.length || byte === 0)
  );
}

function forksIn(target: MemoryTarget, lsn: number): Map<PageKey, number> {
  const [from, to] = kindRange(KeyKind.relationSize);
  const forks = new Map<PageKey, number>();
  for (const key of target.versions.keys()) {
    if (key < from || key >= to || relationOfKey(key).fork === Fork.fsm) continue;
    const bytes = target.peek(key, lsn);
    if (bytes) forks.set(key, decodeRelationSize(bytes));
  }
  return forks;
}

function describeFork({ tablespace, database, relation, fork }: RelationFork): string {
  return `${tablespace}/${database}/${relation} fork ${fork}`;
}
