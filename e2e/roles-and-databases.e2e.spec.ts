/** Roles, databases, endpoints and schemas over the API, on a real stack: what is made can be connected to, what is over cannot. */
import {
  type BranchHandle,
  eventually,
  expectNoDifferences,
  fork,
  type Json,
  leave,
  sharedStack,
  sql,
  type Stack,
  withClient,
} from '@coppice/testing';

jest.setTimeout(600_000);

const HOSTILE = [
  `a"b'; drop role neondb_owner; --`,
  `back\\slash' or '1'='1`,
  'ünïcödé 名前 🌳',
  'x'.repeat(63),
];

describe('roles and databases of a branch', () => {
  let stack: Stack;
  let project: string;
  let main: BranchHandle;

  beforeAll(async () => {
    stack = await sharedStack();
    const made = await stack.ask('POST', '/projects', { project: { name: 'roles' } });
    project = made.project.id;
    main = {
      id: made.branch.id,
      endpoint: made.endpoints[0].id,
      uri: made.connection_uris[0].connection_uri,
    };
  });
  afterAll(() => stack && leave(stack));

  const of = (branch = main): string => `/projects/${project}/branches/${branch.id}`;
  const named = (kind: 'roles' | 'databases', name: string, branch = main): string =>
    `${of(branch)}/${kind}/${encodeURIComponent(name)}`;
  const makeRole = async (name: string, branch = main): Promise<Json> =>
    (await stack.ask('POST', `${of(branch)}/roles`, { role: { name } })).role;
  const makeDatabase = async (name: string, owner = 'neondb_owner', branch = main): Promise<Json> =>
    (await stack.ask('POST', `${of(branch)}/databases`, { database: { name, owner_name: owner } })).database;
  const uriOf = async (role: string, database: string, branch = main): Promise<string> => {
    const query = new URLSearchParams({ branch_id: branch.id, role_name: role, database_name: database });
    return (await stack.ask('GET', `/projects/${project}/connection_uri?${query}`)).uri;
  };
  const WHO = 'select current_user::text as role, current_database()::text as database';

  it('are there to connect to at once, and the owner of a database may make tables in it', async () => {
    const role = await makeRole('app');
    expect(role.password).toMatch(/^npg_/);
    await makeDatabase('shop', 'app');
    const uri = await uriOf('app', 'shop');
    expect(await sql(uri, WHO)).toEqual([{ role: 'app', database: 'shop' }]);
    expect(await sql(uri, 'create table t as select 7 as n', 'select n from t')).toEqual([{ n: 7 }]);
    await expect(sql(uri, "select pg_logical_emit_message(false, 'p', 'x')")).rejects.toMatchObject({
      code: '42501',
    });
    await expect(sql(await uriOf('app', 'neondb'), 'create table t ()')).rejects.toMatchObject({
      code: '42501',
    });
  });

  it('come along into a fork with passwords of their own', async () => {
    const child = await fork(stack, project, { name: 'child' });
    const uri = await uriOf('app', 'shop', child);
    expect(uri).not.toContain(new URL(await uriOf('app', 'shop')).password);
    expect(await sql(uri, 'select n from t')).toEqual([{ n: 7 }]);
  });

  it('can be read with a read-only credential', async () => {
    const { credential, connection_uri: uri } = await stack.ask('POST', `${of()}/scoped_credentials`, {
      credential: { access: 'read_only' },
    });
    expect(credential.access).toBe('read_only');
    const there = new URL(uri);
    there.pathname = '/shop';
    expect(await sql(there.href, 'select n from t')).toEqual([{ n: 7 }]);
    await expect(sql(there.href, 'insert into t values (8)')).rejects.toMatchObject({ code: '25006' });
  });

  it('are renamed and given to another, which ends the sessions of the database', async () => {
    await makeRole('heir');
    await withClient(await uriOf('app', 'shop'), async (client) => {
      await client.query('select 1');
      const { database } = await stack.ask('PATCH', named('databases', 'shop'), {
        database: { name: 'store', owner_name: 'heir' },
      });
      expect(database).toMatchObject({ name: 'store', owner_name: 'heir' });
      await expect(client.query('select 1')).rejects.toThrow();
    });
    expect(await sql(await uriOf('heir', 'store'), WHO)).toEqual([{ role: 'heir', database: 'store' }]);
    const old = new URL(main.uri);
    old.pathname = '/shop';
    await expect(sql(old.href, 'select 1')).rejects.toMatchObject({ code: '3D000' });
  });

  it('lose their sessions within seconds when the password is reset, and the old one opens nothing', async () => {
    const old = await uriOf('heir', 'store');
    await withClient(old, async (client) => {
      await client.query('select 1');
      const { role } = await stack.ask('POST', `${named('roles', 'heir')}/reset_password`);
      expect(new URL(old).password).not.toBe(role.password);
      const reset = Date.now();
      await eventually(10_000, async () => {
        await expect(client.query('select 1')).rejects.toThrow();
      });
      expect(Date.now() - reset).toBeLessThan(5_000);
    });
    await expect(sql(old, 'select 1')).rejects.toMatchObject({ code: '28P01' });
    expect(await sql(await uriOf('heir', 'store'), WHO)).toEqual([{ role: 'heir', database: 'store' }]);
  });

  it('are deleted, a role only when it owns nothing, which is named', async () => {
    const refused = await stack.request('DELETE', named('roles', 'heir'));
    expect([refused.status, refused.body.code]).toEqual([409, 'role-owns-objects']);
    expect(refused.body.message).toContain('database store');
    const uri = await uriOf('heir', 'store');
    await withClient(uri, async (client) => {
      await client.query('select 1');
      await stack.ask('DELETE', named('databases', 'store'));
      await expect(client.query('select 1')).rejects.toThrow();
    });
    await stack.ask('DELETE', named('roles', 'heir'));
    await expect(sql(uri, 'select 1')).rejects.toMatchObject({ code: '28P01' });
    expect((await stack.request('GET', named('roles', 'heir'))).status).toBe(404);
  });

  it.each(HOSTILE)('may be called %s', async (name) => {
    await makeRole(name);
    await makeDatabase(name, name);
    expect(await sql(await uriOf(name, name), WHO)).toEqual([{ role: name, database: name }]);
    await stack.ask('PATCH', named('databases', name), { database: { name: 'plain' } });
    await stack.ask('DELETE', named('databases', 'plain'));
    await stack.ask('DELETE', named('roles', name));
    expect(
      await sql(main.uri, "select rolname from pg_roles where rolname in ('neondb_owner', 'app') order by 1"),
    ).toEqual([{ rolname: 'app' }, { rolname: 'neondb_owner' }]);
  });

  it('made by SQL are listed, and a role can log in once its password was reset', async () => {
    await sql(
      main.uri,
      'create role by_sql login',
      'grant by_sql to neondb_owner',
      'create database sql_db owner by_sql',
    );
    const { roles } = await stack.ask('GET', `${of()}/roles`);
    expect(roles.map((r: Json) => r.name).sort()).toEqual(['app', 'by_sql', 'neondb_owner']);
    const { databases } = await stack.ask('GET', `${of()}/databases`);
    expect(databases.map((d: Json) => [d.name, d.owner_name])).toEqual(
      expect.arrayContaining([['sql_db', 'by_sql']]),
    );
    await stack.ask('POST', `${named('roles', 'by_sql')}/reset_password`);
    expect(await sql(await uriOf('by_sql', 'sql_db'), WHO)).toEqual([{ role: 'by_sql', database: 'sql_db' }]);
  });

  it('are made on a branch that sleeps', async () => {
    await stack.ask('POST', `/projects/${project}/endpoints/${main.endpoint}/suspend`);
    await makeRole('woken');
    expect((await sql(await uriOf('woken', 'neondb'), WHO))[0]!['role']).toBe('woken');
  });

  it('survive a kill of the control-plane at any moment of their making', async () => {
    for (let i = 0; i < 3; i += 1) {
      const made = stack
        .request('POST', `${of()}/roles`, { role: { name: `killed_${i}` } })
        .catch(() => undefined);
      await new Promise((r) => setTimeout(r, 5 + i * 15));
      stack.kill9('control-plane');
      await made;
      await eventually(30_000, async () => {
        const { status } = await stack.request('POST', `${of()}/roles`, { role: { name: `killed_${i}` } });
        expect([201, 409]).toContain(status);
      });
      expect((await sql(await uriOf(`killed_${i}`, 'neondb'), WHO))[0]!['role']).toBe(`killed_${i}`);
    }
  });

  it('the schema of a branch is told now, at an earlier position, and against its parent', async () => {
    const branch = await fork(stack, project, { name: 'ddl' });
    const before = (await sql(branch.uri, 'select pg_current_wal_flush_lsn()::text as lsn'))[0]!['lsn'];
    await sql(branch.uri, 'create table fresh (id int primary key, what text not null)');
    const schema = (query: string): Promise<Json> =>
      stack.ask('GET', `${of(branch)}/schema?db_name=neondb${query}`);
    expect((await schema('')).sql).toContain('CREATE TABLE public.fresh (');
    expect((await schema('&format=json')).json.tables).toMatchObject([{ schema: 'public', name: 'fresh' }]);
    const started = Date.now();
    expect((await schema(`&lsn=${before}`)).sql).not.toContain('fresh');
    expect(Date.now() - started).toBeLessThan(20_000);
    const compare = async (query = ''): Promise<string> =>
      (await stack.ask('GET', `${of(branch)}/compare_schema?db_name=neondb${query}`)).diff;
    expect(await compare()).toContain('+CREATE TABLE public.fresh (');
    expect(await compare(`&lsn=${before}`)).toBe('');
    expect(await compare(`&base_branch_id=${branch.id}&base_lsn=${before}`)).toContain(
      '+CREATE TABLE public.fresh (',
    );
    const { branches } = await stack.ask('GET', `/projects/${project}/branches`);
    expect(branches.map((b: Json) => b.name).sort()).toEqual(['child', 'ddl', 'main']);
  });

  it('an endpoint moves to another branch with its address, and a disabled one does not start', async () => {
    const made = await stack.ask('POST', `/projects/${project}/branches`, { branch: { name: 'bare' } });
    await sql(main.uri, 'create table only_main ()');
    const at = `/projects/${project}/endpoints/${main.endpoint}`;
    await stack.ask('PATCH', at, { endpoint: { branch_id: made.branch.id } });
    const moved = { ...main, id: made.branch.id };
    await expect(sql(await uriOf('app', 'neondb', moved), 'select from only_main')).rejects.toMatchObject({
      code: '42P01',
    });
    await stack.ask('PATCH', at, { endpoint: { branch_id: main.id, disabled: true } });
    await expect(sql(main.uri, 'select 1')).rejects.toThrow(/disabled/);
    await stack.ask('PATCH', at, { endpoint: { disabled: false } });
    expect(await sql(main.uri, 'select count(*)::int as n from only_main')).toEqual([{ n: 0 }]);
  });

  it('and no two services disagree afterwards', () => expectNoDifferences(stack));
});
