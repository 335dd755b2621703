import { silentLog } from '@coppice/service-kit';
import { startPostgres, type TestPostgres } from '@coppice/testing';
import { sql } from 'kysely';
import { type Catalog, CONTRADICTION_KINDS, findContradictions, openCatalog } from './index';

let server: TestPostgres;
let catalog: Catalog;
const NOW = new Date(Date.UTC(2026, 0, 5, 10));
const MADE = new Date(NOW.getTime() - 3_600_000).toISOString();
const LATER = new Date(NOW.getTime() + 7_200_000).toISOString();
const tl = (n: number): string => String(n).padStart(32, '0');
const times = `'${MADE}', '${MADE}'`;

/** One agent with a project of two branches, one of them running; a template; a checkpoint; a compute that ended. */
const WORLD = [
  `insert into agents (id, name, created_at, updated_at) values ('a', 'a', ${times})`,
  `insert into nodes (id, kind, address, incarnation, heartbeat_at, registered_at) values ('n', 'agent', 'x', 'i', '${NOW.toISOString()}', '${MADE}')`,
  `insert into timelines (id, project_id, ancestor_id, ancestor_lsn, depth, pg_version, created_at) values
    ('${tl(0)}', null, null, null, 0, 17, '${MADE}'), ('${tl(1)}', 'p', '${tl(0)}', '0/10', 1, 17, '${MADE}'), ('${tl(2)}', 'p', '${tl(1)}', '0/20', 2, 17, '${MADE}')`,
  `insert into templates (pg_version, timeline_id, lsn, ready_at) values (17, '${tl(0)}', '0/10', '${MADE}')`,
  `insert into projects (id, agent_id, name, pg_version, default_branch_id, history_retention_seconds, suspend_timeout_seconds, created_at, updated_at)
    values ('p', 'a', 'p', 17, 'br-main', 1, 0, ${times}), ('q', 'a', 'q', 17, 'br-q', 1, 0, ${times})`,
  `insert into branches (id, project_id, name, parent_id, timeline_id, is_default, is_protected, created_at, updated_at) values
    ('br-main', 'p', 'main', null, '${tl(1)}', true, false, ${times}), ('br-kid', 'p', 'kid', 'br-main', '${tl(2)}', false, false, ${times})`,
  `insert into timelines (id, project_id, ancestor_id, ancestor_lsn, depth, pg_version, created_at) values ('${tl(3)}', 'q', '${tl(0)}', '0/10', 1, 17, '${MADE}')`,
  `insert into branches (id, project_id, name, timeline_id, is_default, is_protected, created_at, updated_at)
    values ('br-q', 'q', 'main', '${tl(3)}', true, false, ${times})`,
  `insert into endpoints (id, project_id, branch_id, type, suspend_timeout_seconds, min_compute_units, max_compute_units, created_at, updated_at)
    values ('ep-kid', 'p', 'br-kid', 'read_write', 0, 1, 1, ${times})`,
  `insert into roles (branch_id, name, created_at, updated_at) values ('br-kid', 'owner', ${times})`,
  `insert into databases (branch_id, name, owner_name, created_at, updated_at) values ('br-kid', 'db', 'owner', ${times})`,
  `insert into credentials (id, branch_id, role_name, version, created_at) values (gen_random_uuid(), 'br-kid', 'owner', 1, '${MADE}')`,
  `insert into checkpoints (id, kind, project_id, branch_id, name, timeline_id, lsn, before_setup, created_at)
    values ('ckpt-1', 'checkpoint', 'p', 'br-kid', 'one', '${tl(2)}', '0/30', false, '${MADE}')`,
  `insert into computes (id, endpoint_id, branch_id, project_id, timeline_id, node_id, incarnation, fencing_token, state, suspend_timeout_seconds, agent_id, created_at)
    values ('compute-1', 'ep-kid', 'br-kid', 'p', '${tl(2)}', 'n', 'i', 1, 'running', 0, 'a', '${MADE}')`,
  `insert into operations (id, project_id, action, status, created_at, updated_at) values (gen_random_uuid(), 'p', 'create', 'finished', ${times})`,
  `insert into usage_hours (branch_id, hour, project_id, agent_id) values ('br-kid', '${MADE}', 'p', 'a')`,
];

const gone = `deleted_at = '${MADE}', recoverable_until = '${LATER}'`;
const past = `deleted_at = '${MADE}', recoverable_until = '${MADE}'`;
/** What makes each kind appear, and what else it brings about. */
const BREAKS: Readonly<Record<string, { readonly by: string; readonly also?: readonly string[] }>> = {
  'endpoint-of-no-branch': {
    by: `update branches set ${gone} where id = 'br-kid'`,
    also: ['compute-of-no-branch'],
  },
  'branch-of-no-project': { by: `update projects set ${gone} where id = 'q'` },
  'project-of-no-agent': { by: `update agents set deleted_at = '${MADE}'` },
  'checkpoint-of-no-branch': { by: `update checkpoints set branch_id = null` },
  'database-of-no-role': { by: `update databases set owner_name = 'nobody'` },
  'credential-of-no-role': { by: `update credentials set role_name = 'nobody'` },
  'project-without-default': { by: `update branches set is_default = true where id = 'br-kid'` },
  'branch-parent-elsewhere': { by: `update branches set parent_id = 'br-main' where id = 'br-q'` },
  'branch-timeline-elsewhere': { by: `update timelines set project_id = 'q' where id = '${tl(2)}'` },
  'never-purged': {
    by: `update branches set deleted_at = '${MADE}' where id = 'br-q'`,
    also: ['project-without-default'],
  },
  'timeline-going-in-use': {
    by: `update timelines set retained_from = 'FFFFFFFF/FFFFFFFF' where id = '${tl(1)}'`,
  },
  'timeline-unneeded': {
    by: `insert into timelines (id, project_id, ancestor_id, ancestor_lsn, depth, pg_version, created_at) values ('${tl(4)}', 'p', '${tl(1)}', '0/20', 2, 17, '${MADE}')`,
  },
  'compute-of-no-branch': { by: `update endpoints set deleted_at = '${MADE}'` },
  'compute-on-old-timeline': { by: `update computes set timeline_id = '${tl(1)}'` },
  'compute-unfinished': { by: `update computes set state = 'stopping'` },
  'compute-on-silent-node': { by: `update nodes set heartbeat_at = '${MADE}'` },
  'operation-unfinished': { by: `update operations set status = 'running'` },
  'usage-in-the-future': { by: `update usage_hours set hour = '${LATER}'` },
  'quota-not-given-back': { by: `insert into quota_releases (agent_id, epoch, branches) values ('a', 1, 1)` },
  'overdue-expired-branch': {
    by: `update branches set ttl_kind = 'absolute', ttl_seconds = 1, expires_at = '${MADE}' where id = 'br-kid'`,
  },
  'overdue-deleted-branch': {
    by: `update branches set ${past} where id = 'br-q'`,
    also: ['project-without-default'],
  },
  'overdue-deleted-project': {
    by: `update projects set ${past} where id = 'q'`,
    also: ['branch-of-no-project'],
  },
  'overdue-deleted-timeline': { by: `update timelines set purge_due_at = '${MADE}' where id = '${tl(2)}'` },
  'overdue-expired-credential': { by: `update credentials set expires_at = '${MADE}'` },
  'overdue-expired-checkpoint': { by: `update checkpoints set expires_at = '${MADE}'` },
};

beforeAll(async () => {
  server = await startPostgres();
  const { host, port } = server.connectionConfig();
  catalog = openCatalog({
    host: host!,
    port: port!,
    user: 'postgres',
    database: 'postgres',
    log: silentLog(),
  });
  await catalog.migrate();
  for (const statement of WORLD) await sql.raw(statement).execute(catalog.db);
}, 60_000);
afterAll(async () => {
  await catalog?.close();
  await server?.dispose();
});

class RollBack extends Error {}

/** Kinds that are found after a change, which is undone. */
async function kindsAfter(change: string): Promise<string[]> {
  let kinds: string[] = [];
  await catalog.db
    .transaction()
    .execute(async (tx) => {
      await sql.raw(change).execute(tx);
      kinds = (await findContradictions(tx, { now: NOW, limit: 10 })).map((c) => c.kind);
      throw new RollBack();
    })
    .catch((error: unknown) => {
      if (!(error instanceof RollBack)) throw error;
    });
  return kinds.sort();
}

describe('contradictions of the metadata', () => {
  it('are none in metadata that is as it should be', async () => {
    expect(await findContradictions(catalog.db, { now: NOW, limit: 10 })).toEqual([]);
  });

  it('have a way to come about here, each kind', () => {
    expect(Object.keys(BREAKS).sort()).toEqual([...CONTRADICTION_KINDS].sort());
  });

  it.each(Object.entries(BREAKS))('%s is found', async (kind, { by, also = [] }) => {
    expect([...new Set(await kindsAfter(by))]).toEqual([kind, ...also].sort());
  });

  it('say what and where, and no more of a kind than asked for', async () => {
    await catalog.db
      .transaction()
      .execute(async (tx) => {
        await sql
          .raw(
            `insert into quota_releases (agent_id, epoch, branches) select 'a', 1, 1 from generate_series(1, 5)`,
          )
          .execute(tx);
        await sql.raw(`update computes set state = 'stopping'`).execute(tx);
        const found = await findContradictions(tx, { now: NOW, limit: 3 });
        expect(found.map((c) => c.kind)).toEqual([
          'compute-unfinished',
          ...Array.from({ length: 3 }, () => 'quota-not-given-back'),
        ]);
        expect(found[0]).toMatchObject({ id: 'compute-1', projectId: 'p', branchId: 'br-kid' });
        expect(found[0]!.detail).toMatch(/^stopping, made at 2026/);
        throw new RollBack();
      })
      .catch((error: unknown) => {
        if (!(error instanceof RollBack)) throw error;
      });
  });
});
