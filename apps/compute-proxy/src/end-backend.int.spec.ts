import { startPostgres, type TestPostgres } from '@coppice/testing';
import { type ComputeConnection, openCompute } from './compute-connection';
import { endBackend } from './end-backend';

const SESSIONS = 20;

describe('backends that are to end', () => {
  let postgres: TestPostgres;

  beforeAll(async () => {
    postgres = await startPostgres({ settings: { max_connections: SESSIONS + 5 } });
    await postgres.query('create role app login; create role coppice_admin login superuser');
  });
  afterAll(() => postgres.dispose());

  it('all end, even where there is no room for as many sessions that tell them', async () => {
    const open = (): Promise<ComputeConnection> =>
      openCompute(
        postgres,
        { parameters: Object.entries({ user: 'app', database: 'postgres' }), readOnly: false },
        new AbortController().signal,
      );
    const sessions = await Promise.all(Array.from({ length: SESSIONS }, open));
    const closed = sessions.map(
      ({ socket }) => new Promise((resolve) => socket.resume().once('close', resolve)),
    );
    await Promise.all(sessions.map(({ backendPid }) => endBackend(postgres, backendPid)));
    await Promise.all(closed);
    const left = await postgres.query("select pid from pg_stat_activity where usename = 'app'");
    expect(left).toEqual([]);
  });
  it('are not said to have ended when the server cannot be reached', async () => {
    const elsewhere = { socketDirectory: '/nowhere', port: 1 };
    const told = [1, 2, 3].map((pid) => endBackend(elsewhere, pid));
    for (const end of told) await expect(end).rejects.toMatchObject({ code: 'compute-gone' });
  });
});
