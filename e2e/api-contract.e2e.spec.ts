/**
 * Every route of the REST surface on a real stack. What Neon's published document describes is validated against that document
 * as its npm client ships it, and everything against our own.
 */
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Answer, type Json, leave, sharedStack, type Stack, workspaceRoot } from '@coppice/testing';
import { parse } from 'yaml';

jest.setTimeout(300_000);

const inAnHour = (): string => new Date(Date.now() + 3_600_000).toISOString();

interface Document {
  readonly paths: Record<string, Record<string, { operationId: string; responses: Record<string, Json> }>>;
}

const NEON = parse(
  readFileSync(
    join(workspaceRoot(), 'node_modules/@neondatabase/api-client/public-v2-for-users.gen.yaml'),
    'utf8',
  ),
) as Document;

/** Method and path template of each operation. */
function operationsOf(document: Document): Map<string, { method: string; path: string }> {
  return new Map(
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([, operation]) => operation.operationId)
        .map(([method, operation]) => [operation.operationId, { method, path }] as const),
    ),
  );
}

const at = (document: Json, pointer: readonly string[]): Json =>
  pointer.reduce((found, key) => found?.[key], document);
/** A part of a JSON pointer in a URL. */
const escaped = (part: string): string =>
  part.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D');

/** What is wrong with an answer by a document; empty when nothing is. */
class Checker {
  readonly #ajv = new Ajv({ strict: false, allErrors: true });
  readonly operations: ReadonlyMap<string, { method: string; path: string }>;

  constructor(
    readonly name: string,
    readonly document: Document,
  ) {
    addFormats(this.#ajv);
    this.#ajv.addFormat('uint64', true).addFormat('int', true);
    this.#ajv.addSchema(document, name);
    this.operations = operationsOf(document);
  }

  faults(operationId: string, { status, body }: Answer<Json>): string[] {
    const { method, path } = this.operations.get(operationId)!;
    const pointer = ['paths', path, method, 'responses', String(status)];
    const response = at(this.document, pointer);
    if (response === undefined) return [`${this.name} has no answer ${status} for ${operationId}`];
    const named = response.$ref === undefined ? pointer : response.$ref.slice('#/'.length).split('/');
    if (at(this.document, named).content === undefined)
      return body === undefined ? [] : [`${operationId} ${status} has a body`];
    const schema = [...named, 'content', 'application/json', 'schema'].map(escaped).join('/');
    const validate = this.#ajv.compile({ $ref: `${this.name}#/${schema}` });
    if (validate(body)) return [];
    return validate.errors!.map(
      (e) => `${this.name} ${operationId} ${status}: ${e.instancePath} ${e.message}`,
    );
  }
}

describe('the REST surface', () => {
  let stack: Stack;
  let ours: Checker;
  const neon = new Checker('neon', NEON);
  const exercised = new Set<string>();

  beforeAll(async () => {
    stack = await sharedStack();
    ours = new Checker('ours', await stack.ask('GET', '/openapi.json'));
  });
  afterAll(() => stack && leave(stack));

  /** A request that must answer `status` in the form that the documents say. */
  const call = async (
    operationId: string,
    at: Readonly<Record<string, string>>,
    { query = '', body, status }: { query?: string; body?: unknown; status?: number } = {},
  ): Promise<Json> => {
    const operation = ours.operations.get(operationId);
    if (!operation) throw new Error(`no operation ${operationId}`);
    const path = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(at[name]!));
    const answer = await stack.request(operation.method.toUpperCase(), path + query, body);
    const wanted = status ?? [200, 201, 202].find((s) => s === answer.status);
    expect({ operationId, ...answer, status: answer.status }).toEqual({
      operationId,
      ...answer,
      status: wanted,
    });
    const documents = neon.operations.has(operationId) ? [neon, ours] : [ours];
    expect(documents.flatMap((d) => d.faults(operationId, answer))).toEqual([]);
    exercised.add(operationId);
    return answer.body;
  };

  it('tells who calls and where', async () => {
    await call('getAuthDetails', {});
    await call('getCurrentUserInfo', {});
    const { organizations } = await call('getCurrentUserOrganizations', {});
    await call('getOrganization', { org_id: organizations[0].id });
    await call('getActiveRegions', {});
  });

  it('makes, lists, changes, deletes and recovers projects', async () => {
    const { project } = await call(
      'createProject',
      {},
      {
        body: {
          project: { name: 'shop', settings: { quota: { logical_size_bytes: 2 ** 40 } }, pg_version: 17 },
        },
      },
    );
    const at = { project_id: project.id };
    await call('listProjects', {}, { query: '?limit=100&org_id=org-coppice&search=sho' });
    await call('listSharedProjects', {});
    await call('getProject', at);
    const changed = await call('updateProject', at, {
      body: {
        project: {
          name: 'shop-2',
          history_retention_seconds: 3600,
          default_endpoint_settings: { suspend_timeout_seconds: 120, autoscaling_limit_max_cu: 2 },
          settings: { quota: { compute_time_seconds: 1_000_000 } },
        },
      },
    });
    expect(changed.project.settings.quota).toEqual({
      logical_size_bytes: 2 ** 40,
      compute_time_seconds: 1_000_000,
    });
    await call('listProjectPermissions', at);
    await call('getAvailablePreloadLibraries', at);
    const { operations } = await call('listProjectOperations', at, { query: '?limit=2' });
    await call('getProjectOperation', { ...at, operation_id: operations[0].id });
    await call('deleteProject', at);
    expect((await call('listProjects', {}, { query: '?recoverable=true' })).projects).toHaveLength(1);
    await call('recoverProject', at);
    await call('deleteProject', at, { query: '?hard_delete=true' });
  });

  describe('on a project', () => {
    let at: { project_id: string; branch_id: string };
    let endpoint: string;
    beforeAll(async () => {
      const made = await stack.ask('POST', '/projects', { project: { name: 'main' } });
      at = { project_id: made.project.id, branch_id: made.branch.id };
      endpoint = made.endpoints[0].id;
    });

    it('makes, lists, changes, deletes and recovers branches', async () => {
      const { branch } = await call('createProjectBranch', at, {
        body: {
          branch: { name: 'try', parent_id: at.branch_id, expires_at: inAnHour() },
          annotation_value: { purpose: 'test' },
        },
      });
      const on = { ...at, branch_id: branch.id };
      const listed = await call('listProjectBranches', at, { query: '?sort_by=name&sort_order=asc&limit=1' });
      expect(listed.pagination.next).toBeTruthy();
      expect((await call('countProjectBranches', at)).count).toBe(2);
      expect((await call('getProjectBranch', on)).annotation.value).toEqual({ purpose: 'test' });
      await call('updateProjectBranch', on, {
        body: { branch: { name: 'tried', protected: false, ttl: { kind: 'lease', seconds: 3600 } } },
      });
      const renewed = await call('renewProjectBranch', on);
      expect(renewed.branch.ttl).toEqual({ kind: 'lease', seconds: 3600, subtree: false });
      await call('updateProjectBranch', on, { body: { branch: { expires_at: null } } });
      await call('setDefaultProjectBranch', on);
      await call('setDefaultProjectBranch', at);
      await call('deleteProjectBranch', on);
      await call('deleteProjectBranch', { ...at, branch_id: 'br-no-such-1' }, { status: 204 });
      const all = await call('listProjectBranches', at, { query: '?include_deleted=true' });
      expect(all.branches.find((b: Json) => b.id === branch.id).recovery.deletion_method).toBe('user');
      await call('recoverProjectBranch', on);
    });

    it('rewinds: checkpoints, restore, snapshots', async () => {
      const { checkpoint } = await call('createCheckpoint', at, { body: { checkpoint: { name: 'before' } } });
      await call('listCheckpoints', at);
      await call('restoreProjectBranch', at, {
        body: { source_branch_id: at.branch_id, source_checkpoint: 'before', preserve_under_name: 'kept' },
      });
      await call('deleteCheckpoint', { ...at, checkpoint: checkpoint.id });
      await call('deleteCheckpoint', { ...at, checkpoint: checkpoint.id }, { status: 204 });
      const { snapshot } = await call('createSnapshot', at, { query: '?name=nightly' });
      const on = { ...at, snapshot_id: snapshot.id };
      await call('listSnapshots', at);
      await call('updateSnapshot', on, { body: { snapshot: { name: 'weekly' } } });
      const restored = await call('restoreSnapshot', on, { body: { name: 'from-snapshot' } });
      await call('finalizeRestoreBranch', { ...at, branch_id: restored.branch.id }, { body: {} });
      await call('deleteSnapshot', on);
      at = {
        ...at,
        branch_id: (await stack.ask('GET', `/projects/${at.project_id}`)).project.default_branch_id,
      };
    });

    it('starts, suspends and changes endpoints', async () => {
      const { endpoints } = await call('listProjectEndpoints', at);
      expect(endpoints.length).toBeGreaterThan(0);
      const on = { ...at, endpoint_id: endpoint };
      await call('listProjectBranchEndpoints', at);
      await call('getProjectEndpoint', on);
      await call('startProjectEndpoint', on);
      await call('getProjectEndpointActivity', on);
      await call('restartProjectEndpoint', on);
      await call('suspendProjectEndpoint', on);
      await call('updateProjectEndpoint', on, { body: { endpoint: { suspend_timeout_seconds: 600 } } });
      const { branch } = await stack.ask('POST', `/projects/${at.project_id}/branches`, {});
      const made = await call('createProjectEndpoint', at, {
        body: { endpoint: { branch_id: branch.id, type: 'read_write', pooler_enabled: false, settings: {} } },
      });
      const of = { ...at, endpoint_id: made.endpoint.id };
      await call('deleteProjectEndpoint', of);
      await call('deleteProjectEndpoint', of, { status: 204 });
    });

    it('makes roles and databases, reads and compares schemas', async () => {
      await call('createProjectBranchRole', at, { body: { role: { name: 'app', no_login: false } } });
      await call('listProjectBranchRoles', at);
      const role = { ...at, role_name: 'app' };
      await call('getProjectBranchRole', role);
      await call('getProjectBranchRolePassword', role);
      await call('resetProjectBranchRolePassword', role);
      await call('createProjectBranchDatabase', at, {
        body: { database: { name: 'shop', owner_name: 'app' } },
      });
      await call('listProjectBranchDatabases', at);
      const database = { ...at, database_name: 'shop' };
      await call('getProjectBranchDatabase', database);
      await call('updateProjectBranchDatabase', database, {
        body: { database: { owner_name: 'neondb_owner' } },
      });
      await call('getConnectionURI', at, {
        query: '?database_name=neondb&role_name=neondb_owner&pooled=true',
      });
      await call('getProjectBranchSchema', at, { query: '?db_name=neondb' });
      await call('getProjectBranchSchema', at, { query: '?db_name=neondb&format=json' });
      const { branch } = await stack.ask('POST', `/projects/${at.project_id}/branches`, {
        branch: { parent_id: at.branch_id },
      });
      await call(
        'getProjectBranchSchemaComparison',
        { ...at, branch_id: branch.id },
        { query: '?db_name=neondb' },
      );
      await call('deleteProjectBranchDatabase', database);
      await call('deleteProjectBranchDatabase', database, { status: 204 });
      await call('deleteProjectBranchRole', role);
      await call('deleteProjectBranchRole', role, { status: 204 });
    });

    it('gives credentials that open one branch', async () => {
      const { credential } = await call('createScopedCredential', at, {
        body: { credential: { access: 'read_only', ttl_seconds: 600 } },
      });
      const on = { ...at, credential_id: credential.id };
      await call('listScopedCredentials', at);
      await call('renewScopedCredential', on);
      await call('revokeScopedCredential', on);
    });

    it('keeps accounts', async () => {
      const span = `from=${new Date(Date.now() - 3_600_000).toISOString()}&to=${new Date().toISOString()}&granularity=hourly`;
      const ids = `project_ids=${at.project_id}`;
      await call(
        'getConsumptionHistoryPerProject',
        {},
        {
          query: `?${span}&${ids}&metrics=logical_size_bytes,data_storage_bytes_hour`,
        },
      );
      const metrics =
        'metrics=compute_unit_seconds&metrics=root_branch_bytes_month,public_network_transfer_bytes';
      await call(
        'getConsumptionHistoryPerProjectV2',
        {},
        { query: `?${span}&${ids}&org_id=org-coppice&${metrics}` },
      );
      await call(
        'getConsumptionHistoryPerBranchV2',
        {},
        { query: `?${span}&${ids}&org_id=org-coppice&${metrics}` },
      );
      await call('getAgentConsumption', { agent_id: 'operator' }, { query: `?${span}` });
      await call('getTaskConsumption', { task_id: 'job/1' }, { query: `?${span}` });
    });
  });

  it('makes agents and API keys', async () => {
    const { agent } = await call(
      'createAgent',
      {},
      { body: { agent: { name: 'a', quotas: { projects: 3 } } } },
    );
    const at = { agent_id: agent.id };
    await call('listAgents', {}, { query: '?search=a' });
    await call('getAgent', at);
    const changed = await call('updateAgent', at, {
      body: { agent: { quotas: { projects: null, branches: 7 } } },
    });
    expect(changed.agent.quotas).toMatchObject({ projects: null, branches: 7, computes: null });
    const made = await call('createAgentApiKey', at, { body: { key_name: 'second', ttl_seconds: 600 } });
    expect(await call('listAgentApiKeys', at)).toHaveLength(2);
    await call('revokeAgentApiKey', { ...at, key_id: String(made.id) });
    await call('deleteAgent', at);
    const org = { org_id: 'org-coppice' };
    for (const [create, list, revoke] of [
      ['createApiKey', 'listApiKeys', 'revokeApiKey'],
      ['createOrgApiKey', 'listOrgApiKeys', 'revokeOrgApiKey'],
    ] as const) {
      const key = await call(create, org, { body: { key_name: 'mine' } });
      await call(list, org);
      expect((await call(revoke, { ...org, key_id: String(key.id) })).revoked).toBe(true);
    }
  });

  it('tells who did what, and what would be reaped', async () => {
    expect((await call('listAuditLog', {}, { query: '?limit=5' })).entries).toHaveLength(5);
    await call('previewReap', {});
  });

  it('was exercised wholly', () => {
    expect([...ours.operations.keys()].filter((id) => !exercised.has(id))).toEqual([]);
    expect([...exercised].filter((id) => neon.operations.has(id)).length).toBeGreaterThan(60);
  });
});
