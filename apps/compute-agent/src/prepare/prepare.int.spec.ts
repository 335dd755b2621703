/** A compute laid out from the image of a stopped cluster, without any of its pages, is that cluster. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WalStreamDecoder } from '@coppice/postgres';
import { postgresBinDirectory, silentLog, systemClock, systemRandom } from '@coppice/service-kit';
import { serverUser, startPostgres, type TestPostgres } from '@coppice/testing';
import { toLsnNumber } from '@coppice/vocabulary';
import { Client } from 'pg';
import { computeDirectory, SOCKET_PORT } from '../computes/compute-directory';
import { PageSource } from '../page-source/page-source';
import { RelationFiles } from '../page-source/relation-files';
import { buildInterposer } from '../page-source/sparse-cluster.fixture';
import { installInterposer } from '../postgres/installation';
import { ServerUsers } from '../postgres/server-users';
import { PostgresProcess } from '../postgres/postgres-process';
import { ReplicationClient } from '../replication/replication-client';
import type { ComputeImage } from './compute-image';
import { prepareDataDirectory } from './data-directory';
import { imageOfDirectory, pagesOfDirectory, withoutRelations } from './directory-image.fixture';

const never = new AbortController().signal;

describe('a compute prepared at S', () => {
  let origin: TestPostgres;
  let image: ComputeImage;
  let interposer: string;
  let computes: string;
  let users: ServerUsers;

  beforeAll(async () => {
    interposer = await buildInterposer();
    computes = mkdtempSync(join(tmpdir(), 'cpa-'));
    chmodSync(computes, 0o711);
    users = new ServerUsers({ initdb: serverUser ?? { uid: 0, gid: 0 }, firstUid: 210_000, count: 10 });
    interposer = installInterposer(interposer, computes);
    origin = await startPostgres({ settings: { wal_level: 'replica' } });
    await origin.query(`
      create table t as select i as a, repeat('x', i % 100) as b from generate_series(1, 20000) i;
      create index on t (a);
      create unlogged table u as select 1 as a;
      create sequence s;
      select nextval('s') from generate_series(1, 10);`);
    await origin.query(`begin; insert into t values (-1, 'prepared'); prepare transaction 'p1';`);
    await origin.query('vacuum analyze t');
    await origin.stop('fast');
    image = imageOfDirectory(origin.dataDirectory);
  });
  afterAll(async () => {
    await origin?.dispose();
    rmSync(computes, { recursive: true, force: true });
  });

  async function boot(name: string): Promise<{ postgres: PostgresProcess; client: Client; source: PageSource; socket: string; end(): Promise<void> }> {
    const directory = computeDirectory(computes, name);
    const start = withoutRelations(image);
    const user = users.take();
    const state = await prepareDataDirectory({
      image: start.image,
      directory,
      user,
      configuration: { socketDirectory: directory.sockets, port: SOCKET_PORT, computeUnits: 0, projectSettings: { work_mem: '5MB' }, replicated: true },
      random: systemRandom,
      nowSeconds: 1_700_000_000n,
      storageLimitBytes: 0,
      signal: never,
    });
    const pages = pagesOfDirectory(origin.dataDirectory);
    const relations = new RelationFiles({
      state,
      dataDirectory: directory.data,
      owner: user,
      databases: new Set(image.databases.map(({ database }) => database)),
      provider: start.provider,
      log: silentLog(),
    });
    const source = new PageSource({ state, provider: { getPages: async (keys) => pages(keys) }, relations, log: silentLog(), clock: systemClock, ...(user && { owner: user }) });
    await source.start();
    const postgres = await PostgresProcess.start({
      executable: join(postgresBinDirectory(), 'postgres'),
      dataDirectory: directory.data,
      user,
      env: { LD_PRELOAD: interposer, COPPICE_STATE: directory.state, COPPICE_AGENT_PID: String(process.pid) },
      clock: systemClock,
      log: silentLog(),
    });
    await postgres.ready(never);
    const client = new Client({ host: directory.sockets, port: SOCKET_PORT, user: 'postgres', database: 'postgres' });
    client.on('error', () => undefined);
    await client.connect();
    return {
      postgres, client, source, socket: directory.postgresSocket,
      end: async () => {
        postgres.kill();
        await postgres.exited;
        await source.stop();
        state.close();
      },
    };
  }

  it('has the data, the prepared transaction, the unlogged table emptied, and the project settings', async () => {
    const { client, end } = await boot('reads');
    try {
      const { rows } = await client.query(`
        select (select count(*) from t)::int as t, (select sum(a) from t where a between 10 and 20)::int as some, (select count(*) from u)::int as u,
               (select count(*) from pg_prepared_xacts)::int as prepared, (select last_value from s)::int as s, current_setting('work_mem') as work_mem`);
      expect(rows[0]).toEqual({ t: 20000, some: 165, u: 0, prepared: 1, s: 10, work_mem: '5MB' });
    } finally {
      await end();
    }
  });

  it('streams wal that decodes from S on, beginning with the shutdown checkpoint; commits wait for acknowledgement', async () => {
    const { client, postgres, socket, end } = await boot('writes');
    try {
      const target = { socketPath: socket, user: 'postgres', applicationName: 'coppice', micros: () => 0n };
      const replication = await ReplicationClient.connect(target, never);
      const system = await replication.identifySystem(never);
      expect(system.systemIdentifier).toBe(image.systemIdentifier);
      const decoder = new WalStreamDecoder(toLsnNumber(image.lsn));
      const records: string[] = [];
      let acknowledging = false;
      let end = image.lsn;
      const onWal = (start: bigint, bytes: Buffer): void => {
        expect(start).toBe(end);
        end = (start + BigInt(bytes.length)) as typeof end;
        decoder.push(bytes, (record) => records.push(`${record.rmgr}/${(record.info & 0xf0).toString(16)}`));
        if (acknowledging) replication.acknowledge(end);
      };
      await replication.start(image.lsn, { onWal, onReplyWanted: () => replication.acknowledgeAgain() }, never);
      replication.acknowledge(image.lsn);

      let committed = false;
      const commit = client.query("insert into t values (-2, 'new')").then(() => (committed = true));
      await systemClock.sleep(200);
      expect(committed).toBe(false);
      acknowledging = true;
      replication.acknowledge(end);
      await commit;
      expect(records[0]).toBe('0/0');

      postgres.stop('fast');
      await replication.over();
      expect(await postgres.exited).toBe('exit 0');
      expect(records.at(-1)).toBe('0/0');
    } finally {
      await end();
    }
  });

  it('tells why a stream cannot go on from a position that does not exist', async () => {
    const { socket, end } = await boot('refuses');
    try {
      const replication = await ReplicationClient.connect({ socketPath: socket, user: 'postgres', applicationName: 'x', micros: () => 0n }, never);
      const far = (image.lsn + 0x1000_0000n) as typeof image.lsn;
      await replication.start(far, { onWal: () => undefined, onReplyWanted: () => undefined }, never);
      await expect(replication.ended).rejects.toThrow(/ahead of the WAL flush position/);
    } finally {
      await end();
    }
  });
});
