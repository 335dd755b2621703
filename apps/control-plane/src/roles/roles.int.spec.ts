import type { ProjectCreated } from '@coppice/contracts';
import { armFailpoint } from '@coppice/service-kit';
import type { TestPostgres } from '@coppice/testing';
import { call, ControlPlaneWorld, errorOf } from '../testing/control-plane-world';
import { answerSql, postgresBehindAgent } from '../testing/postgres-behind-agent';
import { quotedName } from './object-sql';

let world: ControlPlaneWorld;
let postgres: TestPostgres;
let made: ProjectCreated;
let branch: { projectId: string; branchId: string };
beforeAll(async () => {
  world = await ControlPlaneWorld.start();
  postgres = await postgresBehindAgent();
  world.agent.sql = (request) => answerSql(postgres, request);
});
afterAll(async () => {
  await world?.stop();
  await postgres?.dispose();
});
beforeEach(async () => {
  world.skewMs = 0;
  await world.heartbeat(world.agent);
  made = await world.project();
  branch = { projectId: made.project.id, branchId: made.branch.id };
});

let count = 0;
const fresh = (what: string): string => `${what}_${++count}`;
const role = (roleName: string, over: object = {}) =>
  world.control.createRole({ ...branch, roleName, ...over }, call);
const database = (databaseName: string, ownerName = 'neondb_owner') =>
  world.control.createDatabase({ ...branch, databaseName, ownerName }, call);
const roleNames = async () => (await world.control.listRoles(branch, call)).roles.map((r) => r.name);
const databaseNames = async () =>
  (await world.control.listDatabases(branch, call)).databases.map((d) => d.name);
const rolesInPostgres = async () =>
  (await postgres.query<{ rolname: string }>('select rolname from pg_roles')).map((r) => r.rolname);
const login = (name: string) =>
  world.internal.getLogin({ endpointId: made.endpoints[0]!.id, role: name, database: 'neondb' });
const codeOf = async (work: Promise<unknown>) => (await errorOf(work)).code;

const HOSTILE = [
  `a"b'; drop role neondb_owner; --`,
  `back\\slash' or '1'='1`,
  'ünïcödé 名前 🌳',
  `%I %s $1 \${x}`,
  'x'.repeat(63),
];

describe('a role', () => {
  it('is made in Postgres and can log in with the password of the answer, until it is deleted', async () => {
    const name = fresh('app');
    const { role: created, operations } = await role(name);
    expect(created).toMatchObject({ name, branchId: branch.branchId });
    expect(created.password).toMatch(/^npg_/);
    expect(operations).toMatchObject([{ action: 'apply_config', status: 'finished' }]);
    expect(await rolesInPostgres()).toContain(name);
    expect((await login(name)).verifiers).toHaveLength(1);
    expect((await world.control.revealRolePassword({ ...branch, roleName: name }, call)).password).toBe(
      created.password,
    );
    expect(await codeOf(role(name))).toBe('role-exists');
    const { credentialId } = (await login(name)).verifiers[0]!;
    await world.control.deleteRole({ ...branch, roleName: name }, call);
    expect(await rolesInPostgres()).not.toContain(name);
    expect((await login(name)).verifiers).toEqual([]);
    expect((await world.internal.findEndedCredentials({ ids: [credentialId] })).ids).toEqual([credentialId]);
    expect(await codeOf(world.control.getRole({ ...branch, roleName: name }, call))).toBe('role-not-found');
  });

  it('that is made again after it was deleted has another password', async () => {
    const name = fresh('app');
    const first = (await role(name)).role.password;
    await world.control.deleteRole({ ...branch, roleName: name }, call);
    expect((await role(name)).role.password).not.toBe(first);
    expect((await login(name)).verifiers).toHaveLength(1);
  });

  it('may be made not to log in, and then has no password', async () => {
    const name = fresh('group');
    expect((await role(name, { noLogin: true })).role.password).toBe('');
    expect(await postgres.query('select rolcanlogin from pg_roles where rolname = $1', [name])).toEqual([
      { rolcanlogin: false },
    ]);
    expect((await login(name)).verifiers).toEqual([]);
    expect(await codeOf(world.control.revealRolePassword({ ...branch, roleName: name }, call))).toBe(
      'role-has-no-password',
    );
    expect(await roleNames()).toContain(name);
  });

  it('that is reset has a new password and its old one is over', async () => {
    const name = fresh('app');
    const old = (await role(name)).role.password;
    const { credentialId } = (await login(name)).verifiers[0]!;
    const reset = await world.control.resetRolePassword({ ...branch, roleName: name }, call);
    expect(reset.role.password).toMatch(/^npg_/);
    expect(reset.role.password).not.toBe(old);
    expect((await world.internal.findEndedCredentials({ ids: [credentialId] })).ids).toEqual([credentialId]);
    const now = (await login(name)).verifiers;
    expect(now.map((v) => v.credentialId)).toEqual([expect.not.stringContaining(credentialId)]);
  });

  it('that owns something is not deleted, and what it owns is named', async () => {
    const [name, db] = [fresh('owner'), fresh('owned')];
    await role(name);
    await database(db, name);
    await postgres.query(`create table public.t_${name} ()`, [], { database: 'neondb' });
    await postgres.query(`alter table public.t_${name} owner to ${name}`, [], { database: 'neondb' });
    const refused = await errorOf(world.control.deleteRole({ ...branch, roleName: name }, call));
    expect([refused.kind, refused.code]).toEqual(['Conflict', 'role-owns-objects']);
    expect(refused.message).toContain(`database ${db}`);
    expect(refused.message).toContain('1 object in database neondb');
    expect(await roleNames()).toContain(name);
  });

  it.each(HOSTILE)('may be called %s', async (name) => {
    await role(name);
    expect(await rolesInPostgres()).toContain(name);
    expect((await login(name)).verifiers).toHaveLength(1);
    const refused = database(name, name);
    await refused;
    expect(await codeOf(world.control.deleteRole({ ...branch, roleName: name }, call))).toBe(
      'role-owns-objects',
    );
    await world.control.deleteDatabase({ ...branch, databaseName: name }, call);
    await world.control.deleteRole({ ...branch, roleName: name }, call);
    expect(await rolesInPostgres()).toEqual(expect.arrayContaining(['neondb_owner']));
    expect(await rolesInPostgres()).not.toContain(name);
  });

  it.each(['pg_mine', 'coppice_admin', 'coppice_reader', 'public', 'postgres', '', 'ü'.repeat(32), 'a\nb'])(
    'may not be called %j',
    async (name) => {
      expect(['reserved-name', 'bad-name', 'name-too-long']).toContain(await codeOf(role(name)));
    },
  );

  it('of a branch without endpoint is refused with what to do', async () => {
    const child = await world.fork(branch.projectId, { endpoints: [] });
    const refused = await errorOf(role(fresh('app'), { branchId: child.branch.id }));
    expect([refused.kind, refused.code]).toEqual(['Conflict', 'branch-has-no-endpoint']);
  });

  it('is made once by requests with one idempotency key, which all show its password', async () => {
    const options = { headers: { ...call.headers, 'idempotency-key': fresh('key') } };
    const roleName = fresh('once');
    const create = () => world.control.createRole({ ...branch, roleName }, options);
    const [first, second] = [await create(), await create()];
    expect(second).toEqual(first);
    expect(second.role.password).toMatch(/^npg_/);
  });

  it('is made by one of two requests', async () => {
    const name = fresh('raced');
    const outcomes = await Promise.all(
      [world.control, world.control2].map((c) =>
        c.createRole({ ...branch, roleName: name }, call).then(
          ({ role: r }) => r.password,
          (e: { code: string }) => e.code,
        ),
      ),
    );
    expect(outcomes.filter((o) => o === 'role-exists')).toHaveLength(1);
    const { password } = await world.control.revealRolePassword({ ...branch, roleName: name }, call);
    expect(outcomes).toContain(password);
  });

  it('is finished by the same request when the control-plane dies after Postgres has it', async () => {
    const name = fresh('half');
    const disarm = armFailpoint('role-made-in-postgres', 'error');
    await errorOf(role(name));
    disarm();
    expect(await rolesInPostgres()).toContain(name);
    expect((await login(name)).verifiers).toEqual([]);
    expect((await role(name)).role.password).toMatch(/^npg_/);
    expect((await login(name)).verifiers).toHaveLength(1);

    const disarmDrop = armFailpoint('role-dropped-in-postgres', 'error');
    await errorOf(world.control.deleteRole({ ...branch, roleName: name }, call));
    disarmDrop();
    await world.control.deleteRole({ ...branch, roleName: name }, call);
    expect(await roleNames()).not.toContain(name);
  });
});

describe('roles and databases made by SQL', () => {
  it('are listed while the branch runs, and can log in once their password was reset', async () => {
    const [name, db] = [fresh('sql_role'), fresh('sql_db')];
    await world.control.startEndpoint(
      { projectId: branch.projectId, endpointId: made.endpoints[0]!.id },
      call,
    );
    await postgres.query(`create role ${name} login`);
    await postgres.query(`create database ${db} owner ${name}`);
    expect(await roleNames()).toContain(name);
    expect(await databaseNames()).toContain(db);
    expect(await world.control.getDatabase({ ...branch, databaseName: db }, call)).toMatchObject({
      ownerName: name,
    });
    expect((await login(name)).verifiers).toEqual([]);
    await world.control.resetRolePassword({ ...branch, roleName: name }, call);
    expect((await login(name)).verifiers).toHaveLength(1);

    const { credentialId } = (await login(name)).verifiers[0]!;
    await postgres.query(`alter database ${db} owner to neondb_owner`);
    await postgres.query(`drop role ${name}`);
    expect(await roleNames()).not.toContain(name);
    expect(await world.control.getDatabase({ ...branch, databaseName: db }, call)).toMatchObject({
      ownerName: 'neondb_owner',
    });
    expect((await world.internal.findEndedCredentials({ ids: [credentialId] })).ids).toEqual([credentialId]);
  });

  it('are as the metadata has them while it does not', async () => {
    expect(await roleNames()).toEqual(['neondb_owner']);
    expect(await databaseNames()).toEqual(['neondb']);
  });
});

describe('a database', () => {
  const ownerOf = async (name: string) =>
    (
      await postgres.query<{ owner: string }>(
        'select pg_get_userbyid(datdba) as owner from pg_database where datname = $1',
        [name],
      )
    )[0]?.owner;

  it('is made with its owner, renamed, given to another and dropped; its sessions do not hinder that', async () => {
    const [owner, db, renamed] = [fresh('owner'), fresh('db'), fresh('renamed')];
    await role(owner);
    const { database: created } = await database(db, owner);
    expect(await ownerOf(db)).toBe(owner);
    expect(await codeOf(database(db))).toBe('database-exists');
    const session = await postgres.connect(db);
    session.on('error', () => undefined);
    const changed = await world.control.updateDatabase(
      { ...branch, databaseName: db, newName: renamed, newOwnerName: 'neondb_owner' },
      call,
    );
    expect(changed.database).toMatchObject({ id: created.id, name: renamed, ownerName: 'neondb_owner' });
    expect([await ownerOf(db), await ownerOf(renamed)]).toEqual([undefined, 'neondb_owner']);
    await expect(session.query('select 1')).rejects.toThrow();
    const second = await postgres.connect(renamed);
    second.on('error', () => undefined);
    await world.control.deleteDatabase({ ...branch, databaseName: renamed }, call);
    expect(await ownerOf(renamed)).toBeUndefined();
    expect(await databaseNames()).not.toContain(renamed);
    await second.end().catch(() => undefined);
  });

  it('is not made for an owner, nor renamed to a name, that cannot be', async () => {
    const refused = await errorOf(database(fresh('db'), 'nobody'));
    expect([refused.kind, refused.code]).toEqual(['NotFound', 'role-not-found']);
    const db = fresh('db');
    await database(db);
    const rename = (newName: string) =>
      world.control.updateDatabase({ ...branch, databaseName: db, newName }, call);
    expect(await codeOf(rename('neondb'))).toBe('database-exists');
    expect(await codeOf(rename('template1'))).toBe('reserved-name');
    expect(await codeOf(world.control.getDatabase({ ...branch, databaseName: 'a\0b' }, call))).toBe(
      'database-not-found',
    );
  });

  it.each(HOSTILE)('may be called %s', async (name) => {
    await database(name);
    expect(await ownerOf(name)).toBe('neondb_owner');
    await world.control.updateDatabase({ ...branch, databaseName: name, newName: fresh('plain') }, call);
    await world.control.updateDatabase({ ...branch, databaseName: `plain_${count}`, newName: name }, call);
    await world.control.deleteDatabase({ ...branch, databaseName: name }, call);
    expect(await ownerOf(name)).toBeUndefined();
  });

  it.each(['database-made-in-postgres', 'database-changed-in-postgres', 'database-dropped-in-postgres'])(
    'is finished by the same request when the control-plane dies at %s',
    async (point) => {
      const [db, newName] = [fresh('db'), fresh('new')];
      const twice = async (work: () => Promise<unknown>): Promise<void> => {
        const disarm = armFailpoint(point, 'error');
        await work().catch(() => undefined);
        disarm();
      };
      await twice(() => database(db));
      if (!point.includes('made')) await expect(database(db)).rejects.toThrow();
      else await database(db);
      const rename = () =>
        world.control.updateDatabase(
          { ...branch, databaseName: db, newName, newOwnerName: 'neondb_owner' },
          call,
        );
      await twice(rename);
      if (point.includes('changed')) expect((await rename()).database.name).toBe(newName);
      const drop = () => world.control.deleteDatabase({ ...branch, databaseName: newName }, call);
      await twice(drop);
      if (point.includes('dropped')) await drop();
      expect(await ownerOf(newName)).toBeUndefined();
      expect(await databaseNames()).not.toContain(newName);
    },
  );
});

it('what is done is in the audit log, with the task', async () => {
  const headers = { ...call.headers, 'x-task-id': 'job/step' };
  const name = fresh('audited');
  await world.control.createRole({ ...branch, roleName: name }, { headers });
  const { entries } = await world.fleet.listAudit({ projectId: branch.projectId, taskId: 'job' }, call);
  expect(entries).toMatchObject([{ action: 'create-role', taskId: 'job/step', branchId: branch.branchId }]);
  expect(quotedName('a"b')).toBe('"a""b"');
});
