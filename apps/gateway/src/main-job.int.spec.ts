import * as branches from './rest/schemas/branches';
import * as endpoints from './rest/schemas/endpoints';
import { operationResponse, operationsPage } from './rest/schemas/operations';
import * as projects from './rest/schemas/projects';
import { expectError, expectShape, GatewayWorld, RW } from './testing/gateway-world';

let world: GatewayWorld;
beforeAll(async () => {
  world = await GatewayWorld.start();
});
afterAll(() => world?.stop());

describe('the main job', () => {
  it('makes a project, forks it, and each answer has the documented shape', async () => {
    const made = await world.newProject();
    expect(made.project.id).toMatch(/^[a-z]+-[a-z]+-\d{8}$/);
    expect(made.branch).toMatchObject({ name: 'main', default: true, current_state: 'ready' });
    expect(made.connection_uris[0]!.connection_uri).toMatch(
      /^postgresql:\/\/neondb_owner:npg_\w+@127\.0\.0\.1:7432\/neondb\?options=endpoint%3Dep-/,
    );
    const p = `/projects/${made.project.id}`;
    const fork = expectShape(
      await world.api('POST', `${p}/branches`, { branch: { name: 'try-1' }, ...RW }),
      201,
      branches.branchCreated,
    );
    expect(fork.branch).toMatchObject({
      name: 'try-1',
      parent_id: made.branch.id,
      parent_lsn: '0/1500000',
      default: false,
    });
    expect(fork.branch.id).toMatch(/^br-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+$/);
    expect(fork.operations.every((o) => o.status === 'finished')).toBe(true);
    expect(fork.connection_uris![0]!.connection_parameters.password).not.toBe(
      made.connection_uris[0]!.connection_parameters.password,
    );
    const bare = expectShape(await world.api('POST', `${p}/branches`), 201, branches.branchCreated);
    expect([bare.endpoints, bare.connection_uris, bare.branch.name]).toEqual([[], undefined, bare.branch.id]);

    expectShape(await world.api('GET', p), 200, projects.projectResponse);
    expect(
      expectShape(
        await world.api('GET', '/projects?limit=400&search=shop'),
        200,
        projects.projectsResponse,
      ).projects.map((x) => x.id),
    ).toContain(made.project.id);
    expect(
      expectShape(await world.api('GET', `${p}/branches`), 200, branches.branchesResponse).branches,
    ).toHaveLength(3);
    expect(
      expectShape(await world.api('GET', `${p}/branches/${fork.branch.id}`), 200, branches.branchResponse)
        .branch,
    ).toEqual(fork.branch);
    expect(
      expectShape(await world.api('GET', `${p}/endpoints`), 200, endpoints.endpointsResponse).endpoints,
    ).toHaveLength(2);
    expect(
      expectShape(
        await world.api('GET', `${p}/branches/${fork.branch.id}/endpoints`),
        200,
        endpoints.endpointsResponse,
      ).endpoints,
    ).toEqual(fork.endpoints);
    const e = `${p}/endpoints/${fork.endpoints[0]!.id}`;
    expect(
      expectShape(await world.api('POST', `${e}/start`), 200, endpoints.endpointOperations).endpoint
        .current_state,
    ).toBe('active');
    const suspended = expectShape(await world.api('POST', `${e}/suspend`), 200, endpoints.endpointOperations);
    expect([suspended.endpoint.current_state, typeof suspended.endpoint.suspended_at]).toEqual([
      'idle',
      'string',
    ]);
    expectShape(await world.api('GET', e), 200, endpoints.endpointResponse);
    const uri = await world.api(
      'GET',
      `${p}/connection_uri?branch_id=${fork.branch.id}&database_name=neondb&role_name=neondb_owner`,
    );
    expect(expectShape(uri, 200, endpoints.connectionUri).uri).toBe(fork.connection_uris![0]!.connection_uri);
    const { operations } = expectShape(await world.api('GET', `${p}/operations`), 200, operationsPage);
    expectShape(await world.api('GET', `${p}/operations/${operations[0]!.id}`), 200, operationResponse);
    expectShape(await world.api('DELETE', `${p}/branches/${fork.branch.id}`), 200, branches.branchOperations);
    expectShape(await world.api('DELETE', p), 200, projects.projectResponse);
    expectError(await world.api('GET', p), 404, 'project-not-found');
  });

  it('takes JSON whatever the content type says, as curl sends it', async () => {
    const answer = await world.api(
      'POST',
      '/projects',
      { project: {} },
      { 'content-type': 'application/x-www-form-urlencoded' },
    );
    expect(answer.status).toBe(201);
  });

  it('answers a repeated idempotency key alike and refuses it for another body', async () => {
    const { project } = await world.newProject();
    const key = { 'idempotency-key': 'fork-1' };
    const first = await world.api(
      'POST',
      `/projects/${project.id}/branches`,
      { branch: { name: 'a' }, ...RW },
      key,
    );
    const again = await world.api(
      'POST',
      `/projects/${project.id}/branches`,
      { branch: { name: 'a' }, ...RW },
      key,
    );
    expect([again.status, again.json]).toEqual([201, first.json]);
    expectError(
      await world.api('POST', `/projects/${project.id}/branches`, { branch: { name: 'b' }, ...RW }, key),
      422,
      'idempotency-key-reused',
    );
  });

  it('pages through lists with cursors', async () => {
    const { project } = await world.newProject();
    for (let i = 0; i < 4; i++)
      await world.api('POST', `/projects/${project.id}/branches`, { branch: { name: `b${i}` } });
    const names: string[] = [];
    let cursor = '';
    for (;;) {
      const page = expectShape(
        await world.api(
          'GET',
          `/projects/${project.id}/branches?limit=2&sort_by=name&sort_order=asc${cursor}`,
        ),
        200,
        branches.branchesResponse,
      );
      names.push(...page.branches.map((b) => b.name));
      if (page.pagination.next === undefined) break;
      cursor = `&cursor=${page.pagination.next}`;
    }
    expect(names).toEqual(['b0', 'b1', 'b2', 'b3', 'main']);
  });
});
