import { expectError, GatewayWorld } from './testing/gateway-world';

let world: GatewayWorld;
beforeAll(async () => {
  world = await GatewayWorld.start();
});
afterAll(() => world?.stop());

describe('refusals', () => {
  let p: string;
  beforeAll(async () => {
    p = `/projects/${(await world.newProject()).project.id}`;
  });

  it('say what is wrong and what to do, with stable codes', async () => {
    expect(
      expectError(
        await world.api('POST', `${p}/branches`, { branch: { parent_lsn: '7/0' } }),
        422,
        'lsn-in-future',
      ),
    ).toContain('The latest is 0/1500000.');
    expect(
      expectError(
        await world.api('POST', `${p}/branches`, { branch: { parent_lsn: '0/1' } }),
        422,
        'lsn-before-history',
      ),
    ).toContain('The earliest is 0/1500000.');
    expectError(
      await world.api('POST', `${p}/branches`, { branch: { parent_lsn: '0/0' } }),
      422,
      'lsn-before-history',
    );
    expectError(
      await world.api('POST', `${p}/branches`, { branch: { parent_timestamp: '2999-01-01T00:00:00Z' } }),
      422,
      'timestamp-in-future',
    );
    expectError(
      await world.api('POST', `${p}/branches`, { branch: { parent_timestamp: '1970-01-01T00:00:00Z' } }),
      422,
      'timestamp-before-history',
    );
    expectError(
      await world.api('POST', `${p}/branches`, { branch: { parent_id: 'br-no-such-1' } }),
      404,
      'branch-not-found',
    );
    expectError(
      await world.api('POST', `${p}/branches`, { branch: { name: 'main' } }),
      409,
      'branch-name-taken',
    );
    for (const body of [
      { branch: { archived: true } },
      { endpoints: [{ type: 'read_write', settings: { pg_settings: { work_mem: '1GB' } } }] },
    ])
      expectError(await world.api('POST', `${p}/branches`, body), 422, 'unsupported-setting');
    const ends = { expires_at: '2999-12-01T00:00:00Z', ttl: { kind: 'lease', seconds: 60 } };
    expectError(await world.api('POST', `${p}/branches`, { branch: ends }), 422, 'two-ends');
    for (const settings of [{ allowed_ips: { ips: ['10.0.0.1'] } }, { enable_logical_replication: true }])
      expectError(await world.api('PATCH', p, { project: { settings } }), 422, 'unsupported-setting');
    expectError(await world.api('GET', '/organizations/org-other'), 404, 'organization-not-found');
    expectError(
      await world.api('POST', `${p}/branches`, { endpoints: [{ type: 'read_only' }] }),
      422,
      'unsupported-endpoint-type',
    );
    expectError(
      await world.api('POST', `${p}/branches`, { branch: { init_source: 'schema-only' } }),
      422,
      'unsupported-init-source',
    );
    expectError(
      await world.api('POST', '/projects', { project: { pg_version: 15 } }),
      422,
      'unsupported-pg-version',
    );
    expectError(await world.api('GET', '/projects/no-such-project'), 404, 'project-not-found');
    expectError(await world.api('POST', `${p}/endpoints/ep-no-such-1/start`), 404, 'endpoint-not-found');
    expectError(await world.api('GET', `${p}/operations/x`), 404, 'operation-not-found');
    expectError(await world.api('GET', '/nowhere'), 404, 'route-not-found');
    expectError(
      await world.api('GET', `${p}/connection_uri?database_name=neondb&role_name=x`),
      404,
      'role-not-found',
    );
  });

  it('name the field and the bound of a malformed request', async () => {
    const bad = async (body: unknown) =>
      expectError(await world.api('POST', `${p}/branches`, body), 400, 'invalid-request');
    expect(await bad({ branch: { parent_lsm: '0/1' } })).toContain('parent_lsm');
    expect(await bad({ branch: { parent_lsn: 'zz' } })).toContain('body.branch.parent_lsn: must be an LSN');
    expect(await bad({ branch: { name: 'x'.repeat(257) } })).toContain('256');
    expect(await bad({ branch: { parent_timestamp: '2026-02-31T00:00:00Z' } })).toContain('RFC 3339');
    expect(await bad({ endpoints: [{ type: 'read_write', suspend_timeout_seconds: 604_801 }] })).toContain(
      '604800',
    );
    expect(await bad([])).toContain('body');
    expectError(await world.api('GET', '/projects?limit=401'), 400, 'invalid-request');
    expectError(await world.api('GET', '/projects?limit=1&limit=2'), 400, 'invalid-request');
    expectError(await world.api('GET', '/projects?cursor=abc'), 400, 'bad-cursor');
    expectError(await world.api('POST', '/projects', '{'), 400, 'bad-json');
    expectError(await world.api('POST', '/projects', `"${'x'.repeat(1024 * 1024)}"`), 413, 'body-too-large');
    expectError(await world.api('POST', '/projects'), 400, 'invalid-request');
    expectError(await world.api('GET', '/projects/%zz'), 400, 'bad-request');
    expectError(await world.api('GET', `/projects?search=${'x'.repeat(20_000)}`), 431, 'headers-too-large');
    expectError(
      await world.api('GET', '/projects', undefined, { 'x-more': 'y'.repeat(20_000) }),
      431,
      'headers-too-large',
    );
  });

  it('keep out who has no key', async () => {
    expectError(await world.send('GET', '/api/v2/projects', {}), 401, 'missing-api-key');
    for (const authorization of [
      'Bearer cpk_wrongwrongwrong',
      'Basic x',
      'Bearer',
      `Bearer ${'x'.repeat(600)}`,
      'Bearer ü',
    ]) {
      expectError(await world.api('GET', '/projects', undefined, { authorization }), 401, 'bad-api-key');
    }
    expectError(
      await world.api('POST', '/projects', { project: {} }, { 'idempotency-key': 'x'.repeat(256) }),
      400,
      'bad-idempotency-key',
    );
  });

  it('keep the request id of the caller when it is a plain one', async () => {
    expect(
      (await world.api('GET', '/projects', undefined, { 'x-request-id': 'task-7' })).headers['x-request-id'],
    ).toBe('task-7');
    expect(
      (await world.api('GET', '/projects', undefined, { 'x-request-id': 'a b' })).headers['x-request-id'],
    ).toMatch(/^[0-9a-f]{32}$/);
  });
});
