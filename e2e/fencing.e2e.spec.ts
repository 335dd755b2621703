/** Two computes never: a second compute for a timeline fences the first, and nothing diverges. */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { computeAgentContract, controlContract, controlInternalContract } from '@coppice/contracts';
import type { Client as RpcClient } from '@coppice/contracts';
import { addressOf, eventually, sql, Stack, stackIdentities } from '@coppice/testing';

jest.setTimeout(180_000);

describe('a second compute for an endpoint', () => {
  let stack: Stack;
  let agent: RpcClient<typeof computeAgentContract.methods>;
  let control: RpcClient<typeof controlContract.methods>;
  let internal: RpcClient<typeof controlInternalContract.methods>;

  beforeAll(async () => {
    stack = await Stack.start();
    const identities = stackIdentities(stack);
    agent = identities.everyone(computeAgentContract, addressOf(stack, 'agent'));
    control = identities.everyone(controlContract, addressOf(stack, 'control'));
    internal = identities.everyone(controlInternalContract, addressOf(stack, 'control'));
  });
  afterAll(async () => {
    for (const c of [agent, control, internal]) c?.close();
    await stack?.remove();
  });

  it('fences the first: its next commit fails, every acknowledged one survives', async () => {
    const made = await stack.ask('POST', '/projects', { project: { name: 'twice' } });
    const projectId: string = made.project.id;
    const uri: string = made.connection_uris[0].connection_uri;
    await sql(uri, 'create table t (a int primary key)');
    const first = new Client({ connectionString: uri });
    first.on('error', () => undefined);
    await first.connect();
    for (let a = 1; a <= 50; a += 1) await first.query('insert into t values ($1)', [a]);

    const branch = await control.getBranch(
      { projectId, branchId: made.branch.id },
      { headers: { authorization: `Bearer ${stack.file.apiKey}` } },
    );
    const facts = await internal.getTimeline({ timelineId: branch.timelineId! });
    const computeId = `compute-${randomBytes(16).toString('hex')}`;
    const second = await agent.startCompute({
      computeId,
      endpointId: made.endpoints[0].id,
      timelineId: branch.timelineId!,
      timelineStartLsn: facts.ancestorLsn,
      systemIdentifier: facts.systemIdentifier,
      fencingToken: Date.now(),
      setupSql: [],
      settings: {},
      computeUnits: 0,
      storageLimitBytes: 0,
      keepDataDirectory: false,
      timelineToken: stackIdentities(stack).token('compute', {
        timeline: branch.timelineId!,
        compute: computeId,
      }),
    });
    expect(second.state).toBe('running');

    await expect(first.query('insert into t values (1000)')).rejects.toThrow();
    await first.end().catch(() => undefined);

    // The control-plane did not ask for the second compute and ends it; the next client gets a third one.
    const rows = await eventually(60_000, () =>
      sql(uri, 'insert into t values (51)', 'select count(*)::int as n, max(a) as top from t'),
    );
    expect(rows).toEqual([{ n: 51, top: 51 }]);
  });
});
