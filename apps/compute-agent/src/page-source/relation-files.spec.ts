import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog, systemClock } from '@coppice/service-kit';
import { DEFAULT_TABLESPACE, Fork } from '@coppice/vocabulary';
import type { RelationsAtStart } from '../prepare/compute-image';
import { highestIn } from '../prepare/directory-image.fixture';
import { PageSource } from './page-source';
import { RelationFiles, type RelationName, type RelationProvider } from './relation-files';
import { StateFile } from './state-file';

const NONCE = 77n;
const patient = new AbortController().signal;

/** Header, chains, and the first files. */
function headOf(path: string): Buffer {
  const head = Buffer.alloc(1 << 20);
  const fd = openSync(path, 'r');
  readSync(fd, head, 0, head.length, 0);
  closeSync(fd);
  return head;
}

function relationsAt(numbers: readonly number[]): RelationsAtStart {
  const place = { tablespace: DEFAULT_TABLESPACE, database: 5, fork: Fork.main, blocks: 2 };
  return { relations: numbers.map((relation) => ({ ...place, relation })), initForks: [] };
}

describe('the files of relations', () => {
  let directory: string;
  let state: StateFile;
  /** What storage has in database 5. */
  let stored: number[];
  let provider: { [Question in keyof RelationProvider]: jest.MockedFunction<RelationProvider[Question]> };

  const stateIn = (name: string): StateFile =>
    StateFile.create({
      path: join(directory, name),
      socketPath: join(directory, 'p'),
      dataDirectory: join(directory, 'data'),
      nonce: NONCE,
      files: [],
      blocksAtStart: 0,
    });

  const filesOf = (over: Partial<RelationProvider> = {}): RelationFiles =>
    new RelationFiles({
      state,
      dataDirectory: join(directory, 'data'),
      owner: undefined,
      databases: new Set([0, 5]),
      log: silentLog(),
      provider: { ...provider, ...over },
    });

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'relations-'));
    await mkdir(join(directory, 'data/base/5'), { recursive: true });
    state = stateIn('state');
    stored = [];
    provider = {
      ofRelation: jest.fn(async ({ relation }: RelationName, _: AbortSignal) =>
        relationsAt(stored.filter((r) => r === relation)),
      ),
      ofDatabase: jest.fn(async (_database: number, _: AbortSignal) => relationsAt(stored)),
      highestOf: jest.fn(async (_database: number, _: AbortSignal) => highestIn(relationsAt(stored))),
    };
  });
  afterEach(async () => {
    state.close();
    await rm(directory, { recursive: true });
  });

  describe('of a compute that is stopped', () => {
    let source: PageSource;
    let socket: Socket;

    const serve = async (relations: RelationFiles): Promise<void> => {
      source = new PageSource({
        state,
        provider: { getPages: async () => [] },
        relations,
        log: silentLog(),
        clock: systemClock,
      });
      await source.start();
      socket = connect(state.socketPath);
      socket.on('error', () => undefined);
    };
    const ask = (kind: 'look up' | 'lay database', relation = 0): void => {
      const bytes = Buffer.alloc(48);
      bytes.writeUInt8(1, 0);
      bytes.writeBigUInt64LE(NONCE, 4);
      bytes.writeUInt32LE(2, 12);
      bytes.writeUInt8(kind === 'look up' ? 4 : 5, 24);
      bytes.writeUInt32LE(5, 28);
      bytes.writeUInt32LE(relation, 32);
      socket.write(bytes);
    };
    /** As the compute is cleaned up while its server still asks, and another one starts. */
    const stopAndStartAnother = async (): Promise<{ before: Buffer; after: Buffer; made: string[] }> => {
      await source.stop();
      const made = readdirSync(join(directory, 'data/base/5'));
      state.close();
      state = stateIn('next');
      const before = headOf(state.path);
      await sleep(100);
      return { before, after: headOf(state.path), made };
    };

    afterEach(async () => {
      socket.destroy();
      await source.stop().catch(() => undefined);
    });

    it('are not written into the state of the next one by a database that is still being laid out', async () => {
      stored = Array.from({ length: 20_000 }, (_, i) => 20_000 + i);
      await serve(filesOf());
      ask('lay database');
      while (!existsSync(join(directory, 'data/base/5/20000'))) await sleep(1);
      const { before, after, made } = await stopAndStartAnother();
      expect(after.equals(before)).toBe(true);
      expect(made.length).toBeLessThan(stored.length);
      expect(readdirSync(join(directory, 'data/base/5'))).toEqual(made);
    });

    it('nor by a look-up that the pageserver answers late', async () => {
      let answer!: (found: RelationsAtStart) => void;
      const late = new Promise<RelationsAtStart>((resolve) => (answer = resolve));
      await serve(filesOf({ ofRelation: jest.fn(() => late) }));
      ask('look up', 20_000);
      await sleep(20);
      const stopped = stopAndStartAnother();
      await sleep(20);
      answer(relationsAt([20_000]));
      const { before, after } = await stopped;
      expect(after.equals(before)).toBe(true);
      expect(readdirSync(join(directory, 'data/base/5'))).toEqual([]);
    });
  });

  describe('that storage has not', () => {
    const lookUp = (relations: RelationFiles, relation: number, database = 5): Promise<number> =>
      relations.lookUp(
        { tablespace: DEFAULT_TABLESPACE, database, relation, fork: Fork.main, segment: 0 },
        patient,
      );

    it('cost a bounded number of questions and entries, however many are made', async () => {
      stored = [16_384, 30_000];
      const relations = filesOf();
      for (let relation = 40_000; relation < 60_000; relation++) await lookUp(relations, relation);
      expect(provider.ofRelation.mock.calls.length).toBeLessThan(70);
      expect(state.files.length).toBeLessThan(70);
      expect(provider.highestOf).toHaveBeenCalledTimes(1);
      expect(provider.ofDatabase).not.toHaveBeenCalled();
      await lookUp(relations, 30_000);
      expect(existsSync(join(directory, 'data/base/5/30000'))).toBe(true);
    });

    it('do so, too, where the numbers have begun anew below those of storage', async () => {
      stored = [16_384, 0xffffffff];
      const relations = filesOf();
      for (let relation = 20_000; relation < 40_000; relation++) await lookUp(relations, relation);
      expect(provider.ofRelation.mock.calls.length).toBeLessThan(140);
      expect(state.files.length).toBeLessThan(140);
      expect([state.has('base/5/16384'), state.has('base/5/4294967295')]).toEqual([true, true]);
    });

    it('cost neither in a database that was made here', async () => {
      const relations = filesOf();
      for (let relation = 1; relation < 500; relation++) await lookUp(relations, relation, 99_999);
      expect([provider.ofRelation.mock.calls.length, state.files.length]).toEqual([0, 0]);
    });

    it('are asked for one by one as long as the highest does not come', async () => {
      provider.highestOf.mockRejectedValueOnce(new Error('not now'));
      const relations = filesOf();
      for (let relation = 40_000; relation < 41_000; relation++) await lookUp(relations, relation);
      expect(provider.highestOf).toHaveBeenCalledTimes(2);
      expect(provider.ofRelation.mock.calls.length).toBeLessThan(140);
    });
  });

  describe('that are wanted soon', () => {
    const page = Buffer.alloc(8192, 7);
    const pages = new Map([['base/5/20000', [{ block: 1, page }]]]);

    it('are laid out ahead with their pages, which nobody has read', async () => {
      const relations = filesOf();
      expect([...(await relations.layAhead(relationsAt([20_000, 20_001]), pages, patient))]).toEqual([
        'base/5/20000',
        'base/5/20001',
      ]);
      const content = readFileSync(join(directory, 'data/base/5/20000'));
      expect(content).toEqual(Buffer.concat([Buffer.alloc(8192), page]));
      expect([state.isUnread('base/5/20000', 1), state.isUnread('base/5/20000', 0)]).toEqual([true, false]);
      await relations.lookUp({ ...relationsAt([20_001]).relations[0]!, segment: 0 }, patient);
      expect(provider.ofRelation).not.toHaveBeenCalled();
    });

    it('stay as they are when a server process came first, even while it is on its way', async () => {
      stored = [20_000];
      const relations = filesOf();
      const file = { ...relationsAt([20_000]).relations[0]!, segment: 0 };
      const asked = relations.lookUp(file, patient);
      expect((await relations.layAhead(relationsAt([20_000]), pages, patient)).size).toBe(1);
      await asked;
      expect((await relations.layAhead(relationsAt([20_000]), pages, patient)).size).toBe(0);
      expect(state.files.map(({ name }) => name)).toEqual(['base/5/20000']);
      expect(state.isUnread('base/5/20000', 1)).toBe(true);
    });
  });

  describe('of a whole database', () => {
    it('are laid out once, for all who ask while that goes on and after', async () => {
      stored = [20_000, 20_001];
      const relations = filesOf();
      await Promise.all([relations.layDatabase(5, patient), relations.layDatabase(5, patient)]);
      await relations.layDatabase(5, patient);
      expect(provider.ofDatabase).toHaveBeenCalledTimes(1);
      expect(state.files.map(({ name, blocks }) => [name, blocks])).toEqual([
        ['base/5/20000', 2],
        ['base/5/20001', 2],
      ]);
    });

    it('come also when the first who asked is gone', async () => {
      stored = [20_000];
      const first = new AbortController();
      const relations = filesOf();
      const asked = [relations.layDatabase(5, first.signal), relations.layDatabase(5, patient)];
      first.abort(new Error('gone'));
      await expect(asked[0]).rejects.toThrow('gone');
      await asked[1];
      expect(state.has('base/5/20000')).toBe(true);
    });

    it('are charged once when blocks of them came into being here', async () => {
      const place = { tablespace: DEFAULT_TABLESPACE, database: 5, relation: 20_000 };
      provider.ofDatabase.mockResolvedValueOnce({
        relations: [Fork.main, Fork.init].map((fork) => ({ ...place, fork, blocks: 1 })),
        initForks: [{ ...place, pages: Buffer.alloc(8192) }],
      });
      const relations = filesOf();
      const told = await Promise.all([relations.layDatabase(5, patient), relations.layDatabase(5, patient)]);
      expect(told.sort()).toEqual([0, 1]);
      expect(await relations.layDatabase(5, patient)).toBe(0);
    });
  });

  describe('that cannot be made', () => {
    const place = { tablespace: DEFAULT_TABLESPACE, database: 5, relation: 20_000 };
    const lookUp = (relations: RelationFiles): Promise<number> =>
      relations.lookUp({ ...place, fork: Fork.main, segment: 0 }, patient);
    const inData = (name: string): string => join(directory, 'data/base', name);

    beforeEach(() => {
      provider.ofRelation.mockImplementation(async () => ({
        relations: [Fork.main, Fork.fsm].map((fork) => ({ ...place, fork, blocks: 1 })),
        initForks: [],
      }));
    });

    it('leave nothing, so that the next look-up makes them', async () => {
      const relations = filesOf();
      writeFileSync(inData('5/20000_fsm'), 'in the way');
      await expect(lookUp(relations)).rejects.toMatchObject({ code: 'EEXIST' });
      expect(readdirSync(inData('5'))).toEqual(['20000_fsm']);
      rmSync(inData('5/20000_fsm'));
      await lookUp(relations);
      expect(readdirSync(inData('5')).sort()).toEqual(['20000', '20000_fsm']);
      expect(state.files.map(({ name }) => name)).toEqual(['base/5/20000_fsm', 'base/5/20000']);
    });

    it('are not made where a link leads that the server put in the place of a directory', async () => {
      const relations = filesOf();
      await mkdir(join(directory, 'elsewhere/5'), { recursive: true });
      renameSync(inData('5'), inData('moved'));
      symlinkSync(join(directory, 'elsewhere/5'), inData('5'));
      await expect(lookUp(relations)).rejects.toMatchObject({ code: 'not-a-directory' });
      rmSync(inData('5'));
      renameSync(join(directory, 'data/base'), join(directory, 'data/moved'));
      symlinkSync(join(directory, 'elsewhere'), join(directory, 'data/base'));
      await expect(lookUp(relations)).rejects.toMatchObject({ code: 'not-a-directory' });
      expect(readdirSync(join(directory, 'elsewhere/5'))).toEqual([]);
    });

    it('are not written through a link that has their name', async () => {
      const target = join(directory, 'target');
      writeFileSync(target, 'of somebody else');
      symlinkSync(target, inData('5/20000'));
      provider.ofRelation.mockImplementation(async () => ({
        relations: [Fork.main, Fork.init].map((fork) => ({ ...place, fork, blocks: 1 })),
        initForks: [{ ...place, pages: Buffer.alloc(8192) }],
      }));
      await expect(lookUp(filesOf())).rejects.toMatchObject({ code: 'EEXIST' });
      expect(readFileSync(target, 'utf8')).toBe('of somebody else');
    });
  });
});
