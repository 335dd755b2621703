/** Unmodified clients of Neon against a real stack: their command line, their two SDKs, and psql with what they print. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createApiClient } from '@neondatabase/api-client';
import { client17, FULL, type Json, Stack, workspaceRoot } from '@coppice/testing';

jest.setTimeout(300_000);

const run = promisify(execFile);
/** Endpoints are told apart by the name they are asked for under, as on Neon; nothing resolves it. */
const DOMAIN = 'db.test';

let stack: Stack;
let home: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  stack = await Stack.start({ COPPICE_ENDPOINT_DOMAIN: DOMAIN });
  home = mkdtempSync(join(tmpdir(), 'coppice-neon-'));
  const { api, apiKey } = stack.file;
  env = { ...process.env, HOME: home, XDG_CONFIG_HOME: home, NEON_API_HOST: api, NEON_API_KEY: apiKey };
});
afterAll(async () => {
  await stack?.remove();
  rmSync(home, { recursive: true, force: true });
});

/** Runs SQL through a connection string just as it was printed, by the name of its host. */
async function psql(uri: string, sql: string): Promise<string> {
  const [command, ...args] = client17('psql') ?? ['psql'];
  const { stdout } = await run(command, [...args, uri, '-Atc', sql], {
    env: { ...process.env, PGHOSTADDR: '127.0.0.1' },
    timeout: 60_000,
  });
  return stdout.trim();
}

/** Each call takes seconds of CPU; the routes behind these are exercised elsewhere. */
const itFull = FULL ? it : it.skip;

describe('neonctl', () => {
  const cli = join(workspaceRoot(), 'node_modules/neonctl/bin/cli.js');
  const neonctl = async (...args: string[]): Promise<string> => {
    const { stdout } = await run(process.execPath, [cli, ...args, '--no-analytics'], {
      cwd: home,
      env,
      timeout: 90_000,
    });
    return stdout.trim();
  };
  const json = async (...args: string[]): Promise<Json> =>
    JSON.parse(await neonctl(...args, '-o', 'json')) as Json;

  let project: string;

  it('makes, lists, changes and tells of projects', async () => {
    expect(await json('me')).toMatchObject({ id: 'operator' });
    expect((await json('orgs', 'list'))[0].id).toBe('org-coppice');
    const made = await json('projects', 'create', '--name', 'shop');
    project = made.project.id;
    expect(await psql(made.connection_uris[0].connection_uri, 'select current_database()')).toBe('neondb');
    expect((await json('projects', 'update', project, '--name', 'shop-2')).name).toBe('shop-2');
    expect((await json('projects', 'get', project)).name).toBe('shop-2');
    expect((await json('projects', 'list')).projects.map((p: Json) => p.id)).toContain(project);
    expect((await json('operations', 'list')).every((o: Json) => o.status === 'finished')).toBe(true);
  });

  it('connects with the connection string it composes', async () => {
    const uri = await neonctl('connection-string', 'main');
    expect(uri).toContain('channel_binding=require');
    expect(uri).toContain(`.${DOMAIN}:`);
    expect(await psql(uri, 'create table t as select 1 as a')).toBe('SELECT 1');
    expect(await psql(await neonctl('cs', 'main', '--pooled'), 'select a from t')).toBe('1');
  });

  it('makes branches at the head, at a position and at a time', async () => {
    const main = await neonctl('cs', 'main');
    const [lsn, time] = (await psql(main, 'select pg_current_wal_lsn(), clock_timestamp()')).split('|');
    const at = new Date(
      Math.ceil(Date.parse(time!.replace(' ', 'T').replace(/\+00$/, 'Z')) + 50),
    ).toISOString();
    await new Promise((r) => setTimeout(r, 1_100));
    await psql(main, 'drop table t');
    const b = await json('branches', 'create', '--name', 'b');
    await expect(psql(b.connection_uris[0].connection_uri, 'select a from t')).rejects.toThrow(
      /"t" does not exist/,
    );
    for (const [name, parent] of [
      ['by-lsn', lsn!],
      ['by-time', at],
    ] as const) {
      const made = await json('branches', 'create', '--name', name, '--parent', parent);
      expect(await psql(made.connection_uris[0].connection_uri, 'select a from t')).toBe('1');
    }
    expect((await json('branches', 'list')).map((x: Json) => x.name).sort()).toEqual([
      'b',
      'by-lsn',
      'by-time',
      'main',
    ]);
    expect((await json('branches', 'get', 'b')).id).toBe(b.branch.id);
  });

  itFull('changes branches', async () => {
    expect((await json('branches', 'rename', 'b', 'c')).name).toBe('c');
    expect((await json('branches', 'set-default', 'c')).default).toBe(true);
    expect((await json('branches', 'set-default', 'main')).default).toBe(true);
    const ends = new Date(Date.now() + 3_600_000).toISOString();
    expect((await json('branches', 'set-expiration', 'c', '--expires-at', ends)).expires_at).toBe(ends);
    expect(await json('branches', 'set-expiration', 'c')).not.toHaveProperty('expires_at');
  });

  itFull('resets and restores a branch in place', async () => {
    const c = await neonctl('cs', 'c');
    await psql(c, 'create table mine as select 2 as a');
    await json('branches', 'reset', 'c', '--parent');
    await expect(psql(c, 'select a from mine')).rejects.toThrow(/"mine" does not exist/);
    await psql(c, 'create table kept as select 3 as a');
    const position = await psql(c, 'select pg_current_wal_lsn()');
    await psql(c, 'drop table kept');
    await json('branches', 'restore', 'c', `^self@${position}`, '--preserve-under-name', 'c-before');
    expect(await psql(c, 'select a from kept')).toBe('3');
    expect((await json('branches', 'list')).map((x: Json) => x.name)).toContain('c-before');
  });

  itFull('makes and drops roles and databases, and compares schemas', async () => {
    await json('roles', 'create', '--name', 'app', '--branch', 'c');
    expect((await json('roles', 'list', '--branch', 'c')).map((r: Json) => r.name).sort()).toEqual([
      'app',
      'neondb_owner',
    ]);
    await json('databases', 'create', '--name', 'shop', '--owner-name', 'app', '--branch', 'c');
    expect((await json('databases', 'list', '--branch', 'c')).map((d: Json) => d.name).sort()).toEqual([
      'neondb',
      'shop',
    ]);
    const uri = await neonctl('cs', 'c', '--role-name', 'app', '--database-name', 'shop');
    expect(await psql(uri, 'select current_user, current_database()')).toBe('app|shop');
    await json('databases', 'delete', 'shop', '--branch', 'c');
    await json('roles', 'delete', 'app', '--branch', 'c');
    expect(await neonctl('branches', 'schema-diff', 'main', 'c', '--database', 'neondb')).toContain('kept');
  });

  it('deletes branches and projects', async () => {
    await json('branches', 'delete', 'by-lsn');
    expect((await json('branches', 'list')).map((x: Json) => x.name)).not.toContain('by-lsn');
    expect((await json('projects', 'delete', project)).id).toBe(project);
    expect((await json('projects', 'list')).projects.map((p: Json) => p.id)).not.toContain(project);
  });
});

describe('@neondatabase/api-client', () => {
  it('has its requests answered', async () => {
    const { api, apiKey } = stack.file;
    const client = createApiClient({ apiKey, baseURL: api });
    const { data: made } = await client.createProject({ project: { name: 'client', pg_version: 17 } });
    const projectId = made.project.id;
    const { data: branched } = await client.createProjectBranch(projectId, {
      branch: { name: 'b' },
      endpoints: [{ type: 'read_write' as never }],
    });
    const branchId = branched.branch.id;
    const uri = branched.connection_uris![0]!.connection_uri;
    expect(await psql(uri, 'select 1')).toBe('1');
    const { data: listed } = await client.listProjectBranches({ projectId, sort_by: 'name', limit: 1 });
    expect(listed.pagination?.next).toBeTruthy();
    expect(
      (await client.getProjectBranchRolePassword(projectId, branchId, 'neondb_owner')).data.password,
    ).toBe(branched.connection_uris![0]!.connection_parameters.password);
    const { data: got } = await client.getConnectionUri({
      projectId,
      branch_id: branchId,
      database_name: 'neondb',
      role_name: 'neondb_owner',
    });
    expect(got.uri).toBe(uri);
    const endpointId = branched.endpoints[0]!.id;
    expect((await client.suspendProjectEndpoint(projectId, endpointId)).data.endpoint.current_state).toBe(
      'idle',
    );
    expect((await client.startProjectEndpoint(projectId, endpointId)).data.endpoint.current_state).toBe(
      'active',
    );
    await expect(client.getProject('no-such-project')).rejects.toMatchObject({
      response: { status: 404, data: { code: 'project-not-found' } },
    });
    expect((await client.deleteProjectBranch({ projectId, branchId })).status).toBe(200);
    await client.deleteProject(projectId);
  });
});

describe('@neon/sdk', () => {
  it('has its requests answered', async () => {
    const { stdout } = await run(process.execPath, [join(__dirname, 'clients/neon-sdk.mjs')], {
      env,
      timeout: 120_000,
    });
    expect(JSON.parse(stdout)).toEqual({
      connectionString: expect.stringMatching(/^postgresql:\/\/neondb_owner:/),
      projects: expect.arrayContaining(['sdk']),
      renamed: 'sdk-2',
      forked: { name: 'try', connectionString: expect.stringMatching(/^postgresql:/) },
      branches: ['main', 'try'],
      roles: ['app', 'neondb_owner'],
      databases: ['neondb', 'shop'],
      reset: true,
      snapshots: ['nightly'],
      operations: true,
      missing: { kind: 'not_found', code: 'branch-not-found' },
      left: false,
    });
  });
});
