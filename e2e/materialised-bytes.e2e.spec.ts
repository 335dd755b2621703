/** What a compute leaves on its disk is what the pageserver materialises, byte for byte under masking. */
import type { MaterialisedComparison, StoredRelation } from '@coppice/testing';
import {
  FULL,
  afterTheCrash,
  compareMaterialised,
  DirectCompute,
  OwnAgent,
  PageserverReader,
  permanentRelations,
  pgbench,
  readEverything,
  richWorkload,
  SCHEMA,
  Stack,
  VECTOR_SCHEMA,
  withVector,
} from '@coppice/testing';

jest.setTimeout(600_000);

describe('the pages of a suspended compute', () => {
  let stack: Stack;
  let agent: OwnAgent;
  let compared: MaterialisedComparison;

  beforeAll(async () => {
    stack = await Stack.start(withVector());
    const made = await stack.ask('POST', '/projects', { project: { name: 'bytes' } });
    const branch = { projectId: made.project.id, branchId: made.branch.id, endpointId: made.endpoints[0].id };
    agent = await OwnAgent.start(stack);
    const compute = await DirectCompute.start(stack, agent, branch);
    const before = await databasesOf(compute);
    await richWorkload(compute);
    await applicationWorkload(compute);
    await afterTheCrash(compute);
    await readEverything(compute);
    const relations: StoredRelation[] = await permanentRelations(compute);
    const copiedThroughWal = new Set((await databasesOf(compute)).filter((oid) => !before.includes(oid)));
    const kept = await compute.stop();

    const pageserver = new PageserverReader(stack);
    compared = await compareMaterialised({ kept, relations, pageserver, copiedThroughWal });
    pageserver.close();
    process.stdout.write(
      `compared ${compared.relationPages} pages of ${compared.forks} relation forks and ${compared.slruPages} pages of SLRUs\n`,
    );
  });
  afterAll(async () => {
    await agent?.remove();
    await stack?.remove();
  });

  it('are those that the pageserver has at its last position', () => {
    expect(compared.differences).toEqual([]);
  });

  it('are many, of every kind', () => {
    expect(compared.relationPages).toBeGreaterThan(FULL ? 10_000 : 5_000);
    expect(compared.slruPages).toBeGreaterThanOrEqual(3);
  });

  it('came about without a word of trouble', () => {
    expect(stack.troubledLines()).toEqual([]);
    expect(agent.log()).not.toMatch(/"level":"(warn|error|fatal)"|\b(FATAL|PANIC):/);
  });
});

async function databasesOf(compute: DirectCompute): Promise<number[]> {
  return (await compute.query<{ oid: number }>('select oid::int from pg_database')).map((row) => row.oid);
}

async function applicationWorkload(compute: DirectCompute): Promise<void> {
  const ask = (statement: string): Promise<unknown> =>
    compute.query(statement, undefined, { database: 'neondb' });
  for (const statement of [...SCHEMA, ...(withVector() ? VECTOR_SCHEMA : [])]) await ask(statement);
  await pgbench(compute.uri('neondb'), '-i', '-s', FULL ? '4' : '1', '-q');
  await pgbench(compute.uri('neondb'), '-c', '4', '-j', '2', '-t', '250');
  await ask("update items set body = repeat('b', 3000), doc = doc || '{\"more\": 1}' where id % 16 = 0");
  await ask('delete from items where id % 9 = 0 and not exists (select from events where item = items.id)');
  await ask('vacuum items');
  await ask("update items set name = 'again ' || id, place = point(id, 1) where id % 15 = 0");
  await ask('vacuum full events_2025');
  await ask('refresh materialized view concurrently moods');
  await ask('truncate pgbench_history');
  await ask('reindex table items');
  await ask('vacuum (freeze) pgbench_accounts');
}
