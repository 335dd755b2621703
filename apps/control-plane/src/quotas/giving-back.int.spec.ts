/** What was deleted is free again for the next request, whoever is just giving it back. */
import { type Catalog, openCatalog } from '@coppice/catalog';
import { EmbeddedQuotaStore } from '@coppice/leases';
import { silentLog, systemClock } from '@coppice/service-kit';
import { startPostgres, type TestPostgres } from '@coppice/testing';
import { sql } from 'kysely';
import { Quotas } from './quotas';

const ROUNDS = 30;
const AGENT = 'a';

/** Counters that take a while to answer, as they do under load. */
class SlowStore extends EmbeddedQuotaStore {
  released = 0;

  override async release(...of: Parameters<EmbeddedQuotaStore['release']>): Promise<void> {
    await systemClock.sleep(10);
    await super.release(...of);
    this.released += of[1].branches ?? 0;
  }
}

describe('giving back what ended', () => {
  let server: TestPostgres;
  let catalog: Catalog;
  const store = new SlowStore();
  let quotas: Quotas;
  beforeAll(async () => {
    server = await startPostgres();
    const { host, port } = server.connectionConfig();
    const log = silentLog();
    catalog = openCatalog({ host: host!, port: port!, user: 'postgres', database: 'postgres', log });
    await catalog.migrate();
    quotas = new Quotas({ db: catalog.db, store, log });
    // Connections are there before the first round.
    await Promise.all([quotas.giveBack(AGENT), quotas.giveBack()]);
  }, 60_000);
  afterAll(async () => {
    await catalog?.close();
    await server?.dispose();
  });

  it('is done when a request goes on, also when a round over all agents that began later takes it', async () => {
    for (let round = 1; round <= ROUNDS; round += 1) {
      await sql`insert into quota_releases (agent_id, epoch, branches) values (${AGENT}, 1, 1)`.execute(
        catalog.db,
      );
      const before = quotas.giveBack(AGENT);
      const all = quotas.giveBack();
      await before;
      expect(store.released).toBe(round);
      await all;
    }
  });
});
