import { randomUUID } from 'node:crypto';
import { CoppiceError } from '@coppice/service-kit';
import { ControlPlaneWorld, OPERATOR_KEY } from '../testing/control-plane-world';

let world: ControlPlaneWorld;
const with_ = (key: string, more: Record<string, string> = {}) => ({
  headers: { authorization: `Bearer ${key}`, ...more },
});
const operator = with_(OPERATOR_KEY);
const code = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'done',
    (error: unknown) => (error as CoppiceError).code,
  );

beforeAll(async () => {
  world = await ControlPlaneWorld.start();
}, 60_000);
afterAll(() => world?.stop());

const newAgent = async (quotas = {}) => {
  const made = await world.fleet.createAgent({ name: 'a', quotas }, operator);
  return { id: made.agent.id, key: with_(made.apiKey.secret) };
};
const newProject = (key: ReturnType<typeof with_>, name = 'p') => world.control.createProject({ name }, key);

describe('an agent', () => {
  it('is made with limits and a key that works, and sees its use beside them', async () => {
    const { id, key } = await newAgent({ branches: 7, storageBytes: 1_000_000 });
    await newProject(key);
    const seen = await world.fleet.getAgent({ agentId: id }, key);
    expect(seen).toMatchObject({ quotas: { branches: 7 }, usage: { projects: 1, branches: 1, computes: 0 } });
    expect(seen.quotas.projects).toBeUndefined();
  });

  it('does not see other agents or their things', async () => {
    const [one, two] = [await newAgent(), await newAgent()];
    const { project, branch } = await newProject(one.key);
    const projectId = project.id;
    expect(await code(world.fleet.getAgent({ agentId: one.id }, two.key))).toBe('agent-not-found');
    expect(await code(world.control.getProject({ projectId }, two.key))).toBe('project-not-found');
    expect(await code(world.control.createBranch({ projectId }, two.key))).toBe('project-not-found');
    expect(await code(world.fleet.createCredential({ projectId, branchId: branch.id }, two.key))).toBe(
      'project-not-found',
    );
    expect(await code(world.fleet.createApiKey({ projectId }, two.key))).toBe('project-not-found');
    expect((await world.control.listProjects({}, two.key)).projects).toEqual([]);
  });

  it('may not do what operators do', async () => {
    const { id, key } = await newAgent();
    expect(await code(world.fleet.createAgent({}, key))).toBe('operator-only');
    expect(await code(world.fleet.listAgents({}, key))).toBe('operator-only');
    expect(await code(world.fleet.updateAgent({ agentId: id, set: ['branches'] }, key))).toBe(
      'operator-only',
    );
  });

  it('gets other limits, of which the named ones change only', async () => {
    const { id } = await newAgent({ branches: 7, computes: 2 });
    const changed = await world.fleet.updateAgent(
      { agentId: id, quotas: { branches: 9 }, set: ['branches'] },
      operator,
    );
    expect(changed.quotas).toMatchObject({ branches: 9, computes: 2 });
    const freed = await world.fleet.updateAgent({ agentId: id, set: ['branches'] }, operator);
    expect([freed.quotas.branches, freed.quotas.computes]).toEqual([undefined, 2]);
    expect(await code(world.fleet.updateAgent({ agentId: id, set: ['cpus'] }, operator))).toBe(
      'unknown-quota',
    );
  });

  it('with projects is not deleted; without, its keys end', async () => {
    const { id, key } = await newAgent();
    const { project } = await newProject(key);
    expect(await code(world.fleet.deleteAgent({ agentId: id }, operator))).toBe('agent-has-projects');
    await world.control.deleteProject({ projectId: project.id }, key);
    expect(await code(world.fleet.deleteAgent({ agentId: id }, operator))).toBe('done');
    world.skewMs += 3_000;
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    expect(await code(world.control.listProjects({}, key))).toBe('bad-api-key');
  });

  it('made twice with one idempotency key is one agent with one key', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const [one, two] = [
      await world.fleet.createAgent({ name: 'same' }, with_(OPERATOR_KEY, headers)),
      await world.fleet.createAgent({ name: 'same' }, with_(OPERATOR_KEY, headers)),
    ];
    expect(two).toEqual(one);
    expect(await code(world.control.listProjects({}, with_(two.apiKey.secret)))).toBe('done');
  });

  it('that calls too often is told when to come again', async () => {
    const { key } = await newAgent({ requestsPerSecond: 5 });
    const codes = await Promise.all(
      Array.from({ length: 20 }, () => code(world.control.listProjects({}, key))),
    );
    const allowed = codes.filter((c) => c === 'done').length;
    expect(allowed).toBeGreaterThanOrEqual(5);
    expect(allowed).toBeLessThan(10);
    expect(new Set(codes)).toEqual(new Set(['done', 'rate-limit-exceeded']));
  });
});

describe('an API key', () => {
  it('opens one project or one branch, and makes no key that opens more', async () => {
    const { key } = await newAgent();
    const [{ project, branch }, other] = [await newProject(key), await newProject(key)];
    const projectId = project.id;
    const fork = await world.control.createBranch({ projectId }, key);
    const ofProject = with_((await world.fleet.createApiKey({ name: 'k', projectId }, key)).secret);
    const ofBranch = with_(
      (await world.fleet.createApiKey({ name: 'k', projectId, branchId: fork.branch.id }, ofProject)).secret,
    );
    expect(await code(world.control.getProject({ projectId }, ofProject))).toBe('done');
    expect(await code(world.control.getProject({ projectId: other.project.id }, ofProject))).toBe(
      'project-not-found',
    );
    expect(await code(world.fleet.createApiKey({ name: 'k' }, ofProject))).toBe('key-scope');
    expect(await code(world.control.createProject({}, ofProject))).toBe('key-scope');
    expect(await code(world.control.getBranch({ projectId, branchId: fork.branch.id }, ofBranch))).toBe(
      'done',
    );
    expect(await code(world.control.getBranch({ projectId, branchId: branch.id }, ofBranch))).toBe(
      'branch-not-found',
    );
    expect(await code(world.control.createBranch({ projectId }, ofBranch))).toBe('key-scope');
    expect(await code(world.fleet.createApiKey({ projectId }, ofBranch))).toBe('key-scope');
    const me = await world.control.whoAmI({}, ofBranch);
    expect(me).toMatchObject({ scope: 'branch', projectId, branchId: fork.branch.id });
  });

  it('is not shown an answer that a key with another reach was given', async () => {
    const { key } = await newAgent();
    const [{ project, branch }, other] = [await newProject(key), await newProject(key)];
    const ask = { projectId: project.id };
    const replaying = (of: ReturnType<typeof with_>) => ({
      headers: { ...of.headers, 'idempotency-key': 'deploy' },
    });
    await world.control.createBranch(ask, replaying(key));
    const ofBranch = { name: 'k', projectId: project.id, branchId: branch.id };
    for (const reach of [ofBranch, { name: 'k', projectId: other.project.id }]) {
      const narrow = with_((await world.fleet.createApiKey(reach, key)).secret);
      expect(await code(world.control.createBranch(ask, replaying(narrow)))).toBe('idempotency-key-reused');
    }
    expect(await code(world.control.createBranch(ask, replaying(key)))).toBe('done');
  });

  it('ends when it is revoked or its time is over', async () => {
    const { key } = await newAgent();
    const short = await world.fleet.createApiKey({ name: 'short', ttlSeconds: 5 }, key);
    expect(await code(world.control.listProjects({}, with_(short.secret)))).toBe('done');
    world.skewMs += 6_000;
    expect(await code(world.control.listProjects({}, with_(short.secret)))).toBe('api-key-expired');
    const maker = await world.fleet.createApiKey({ name: 'maker', ttlSeconds: 60 }, key);
    for (const ttlSeconds of [0, 3_600]) {
      const child = await world.fleet.createApiKey({ name: 'child', ttlSeconds }, with_(maker.secret));
      expect(child.key.expiresUnixMs).toBe(maker.key.expiresUnixMs);
    }
    const made = await world.fleet.createApiKey({ name: 'k' }, key);
    await world.fleet.revokeApiKey({ id: made.key.id }, key);
    expect(await code(world.control.listProjects({}, with_(made.secret)))).toBe('bad-api-key');
    expect(await code(world.fleet.revokeApiKey({ id: made.key.id }, key))).toBe('api-key-not-found');
  });

  it('is kept as a hash only', async () => {
    const { key } = await newAgent();
    const { secret } = await world.fleet.createApiKey({ name: 'k' }, key);
    const rows = await world.server.query('select k::text as row from api_keys k');
    expect(JSON.stringify(rows)).not.toContain(secret.slice(4));
  });
});

describe('a scoped credential', () => {
  it('opens its branch under a login of its own, as the role or as the reader', async () => {
    const { id, key } = await newAgent();
    const { project, branch, endpoints } = await newProject(key);
    const of = { projectId: project.id, branchId: branch.id };
    const writer = await world.fleet.createCredential({ ...of, name: 'w' }, key);
    const reader = await world.fleet.createCredential({ ...of, name: 'r', access: 'read_only' }, key);
    expect(writer.credential.login).not.toBe(reader.credential.login);
    expect(reader.connectionUri).toContain(`${reader.credential.login}:${reader.password}@`);
    const login = (role: string) =>
      world.internal.getLogin({ endpointId: endpoints[0]!.id, role, database: 'neondb' });
    expect((await login(writer.credential.login)).verifiers).toMatchObject([
      { readOnly: false, connectAs: 'neondb_owner', credentialId: writer.credential.id },
    ]);
    expect((await login(reader.credential.login)).verifiers).toMatchObject([
      { readOnly: true, connectAs: 'coppice_reader' },
    ]);
    expect(await login('neondb_owner')).toMatchObject({ agentId: id, verifiers: [expect.anything()] });
    expect((await world.fleet.listCredentials(of, key)).credentials).toHaveLength(2);
  });

  it('ends when revoked, when its time is over and with its branch; a child has none', async () => {
    const { key } = await newAgent();
    const { project } = await newProject(key);
    const { branch } = await world.control.createBranch({ projectId: project.id }, key);
    const of = { projectId: project.id, branchId: branch.id };
    const make = async (ttlSeconds = 60) => {
      const { credential } = await world.fleet.createCredential({ ...of, ttlSeconds }, key);
      return { ...of, credentialId: credential.id };
    };
    const [revoked, short, renewed, kept] = [await make(), await make(10), await make(10), await make()];
    const ended = async () => {
      const ids = [revoked, short, renewed, kept].map((c) => c.credentialId);
      const over = (await world.internal.findEndedCredentials({ ids })).ids;
      return ids.map((id) => over.includes(id));
    };
    const child = await world.control.createBranch({ projectId: project.id, parentId: branch.id }, key);
    expect(
      (await world.fleet.listCredentials({ ...of, branchId: child.branch.id }, key)).credentials,
    ).toEqual([]);
    await world.fleet.revokeCredential(revoked, key);
    world.skewMs += 8_000;
    await world.fleet.renewCredential(renewed, key);
    world.skewMs += 5_000;
    expect(await ended()).toEqual([true, true, false, false]);
    expect(await code(world.fleet.renewCredential(short, key))).toBe('credential-not-found');
    await world.control.deleteBranch({ ...of, children: 'keep' }, key).catch(() => undefined);
  });
});
