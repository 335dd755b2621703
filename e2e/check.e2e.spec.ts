/** The checker over a real stack in which things are broken by hand: it tells each, and only what was broken. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { safekeeperContract } from '@coppice/contracts';
import { type Json, sql, Stack, stackIdentities } from '@coppice/testing';
import type { TimelineId } from '@coppice/vocabulary';
import { Client } from 'pg';

jest.setTimeout(300_000);

describe('./coppice check', () => {
  let stack: Stack;
  let metadata: Client;
  let branch: string;
  let timeline: TimelineId;

  beforeAll(async () => {
    stack = await Stack.start();
    stack.leftBroken('things are broken by hand');
    const made: Json = await stack.ask('POST', '/projects', { project: {} });
    branch = made.branch.id;
    await sql(made.connection_uris[0].connection_uri, 'create table t (n int)');
    await stack.ask('POST', `/projects/${made.project.id}/endpoints/${made.endpoints[0].id}/suspend`);
    const { runDirectory } = stack.file;
    metadata = new Client({ host: join(runDirectory, 'meta'), user: 'coppice', database: 'postgres' });
    await metadata.connect();
    const { rows } = await metadata.query('select timeline_id from branches where id = $1', [branch]);
    timeline = rows[0].timeline_id;
  });
  afterAll(async () => {
    await metadata?.end();
    await stack?.remove();
  });

  /** What the checker tells, and its exit code. */
  async function checked(): Promise<{ found: string[]; code: number }> {
    const args = ['check', '--data-dir', stack.dataDirectory, '--json', '--patience', '2'];
    const { stdout, code = 0 }: { stdout: string; code?: number } = await stack
      .coppice(...args)
      .catch((error: { stdout: string; code: number }) => error);
    const report: Json = JSON.parse(stdout);
    return { found: report.differences.map((d: Json) => `${d.kind} ${d.where}`).sort(), code };
  }

  it('finds nothing in a stack that is whole', async () => {
    expect(await checked()).toEqual({ found: [], code: 0 });
  });

  it('finds a directory that no compute uses', async () => {
    const directory = join(stack.file.runDirectory, 'c', 'abcdefabcdef');
    mkdirSync(directory);
    expect(await checked()).toEqual({ found: ['directory-unwanted machine'], code: 1 });
    rmSync(directory, { recursive: true });
  });

  it('finds what the metadata contradicts, and what it counts that does not run', async () => {
    // The agent's reports would set right one that it knows at once, one that it does not know only after ten seconds.
    await metadata.query(
      `update computes set id = 'compute-${'f'.repeat(32)}', state = 'running', running_at = now(), ended_at = null`,
    );
    const { found, code } = await checked();
    expect([found, code]).toEqual([['compute-missing agent-1'], 1]);
    await metadata.query(`update computes set state = 'stopped', ended_at = now()`);
    await metadata.query(`update branches set is_default = false where id = $1`, [branch]);
    expect((await checked()).found).toEqual(['project-without-default metadata']);
    await metadata.query(`update branches set is_default = true where id = $1`, [branch]);
    expect(await checked()).toEqual({ found: [], code: 0 });
  });

  it('finds a timeline that a safekeeper lost, and WAL that less than a quorum holds', async () => {
    const identities = stackIdentities(stack);
    const remove = async (name: string): Promise<void> => {
      const address = `unix:${join(stack.file.runDirectory, 'svc', name)}`;
      const safekeeper = identities.everyone(safekeeperContract, address);
      await safekeeper.deleteTimeline({ timelineId: timeline });
      safekeeper.close();
    };
    await remove('sk1');
    expect((await checked()).found).toEqual(['timeline-lost safekeeper-1']);
    await remove('sk2');
    expect((await checked()).found).toEqual([
      'timeline-lost safekeeper-1',
      'timeline-lost safekeeper-2',
      'wal-missing safekeepers',
    ]);
  });

  it('finds a timeline that the metadata does not know', async () => {
    for (const table of ['credentials', 'databases', 'roles', 'computes'])
      await metadata.query(`delete from ${table}`);
    await metadata.query('delete from endpoints');
    await metadata.query('delete from branches');
    await metadata.query(
      `update projects set deleted_at = now(), recoverable_until = now() + interval '1 hour'`,
    );
    await metadata.query('delete from timelines where id = $1', [timeline]);
    expect((await checked()).found).toEqual(['timeline-unknown pageserver', 'timeline-unknown safekeeper-3']);
  });
});
