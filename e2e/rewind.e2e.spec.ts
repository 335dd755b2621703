/** Going back in place: what users see of it, over a real stack. */
import type { BranchHandle, Json } from '@coppice/testing';
import {
  amcheck,
  eventually,
  fork,
  FULL,
  leave,
  sharedStack,
  sql,
  type Stack,
  withClient,
} from '@coppice/testing';
import { Client } from 'pg';

jest.setTimeout(600_000);

const TIMES = FULL ? 5 : 2;

describe('a branch that goes back in place', () => {
  let stack: Stack;
  let project: string;
  let main: BranchHandle;

  beforeAll(async () => {
    stack = await sharedStack();
    const made = await stack.ask('POST', '/projects', { project: { name: 'rewound' } });
    project = made.project.id;
    main = {
      id: made.branch.id,
      endpoint: made.endpoints[0].id,
      uri: made.connection_uris[0].connection_uri,
    };
  });
  afterAll(() => stack && leave(stack));

  const of = (branch: BranchHandle): string => `/projects/${project}/branches/${branch.id}`;
  const restore = (branch: BranchHandle, body: Json): Promise<Json> =>
    stack.ask('POST', `${of(branch)}/restore`, body);
  const checkpoint = (branch: BranchHandle, name: string): Promise<Json> =>
    stack.ask('POST', `${of(branch)}/checkpoints`, { checkpoint: { name } });
  const checkpoints = async (branch: BranchHandle): Promise<Json[]> =>
    (await stack.ask('GET', `${of(branch)}/checkpoints`)).checkpoints;
  const write = (branch: BranchHandle, ...whats: string[]): Promise<unknown> =>
    sql(branch.uri, ...whats.map((w) => `insert into log (what) values ('${w}')`));
  const read = async (uri: string): Promise<string[]> =>
    (await sql(uri, 'select what from log order by n')).map((r) => r['what'] as string);
  const lsnOf = async (branch: BranchHandle): Promise<string> =>
    (await sql(branch.uri, 'select pg_current_wal_flush_lsn()::text as lsn'))[0]!['lsn'];

  /** A branch of main with a table of its own and one row. */
  async function branch(name: string): Promise<BranchHandle> {
    const made = await fork(stack, project, { name });
    await sql(
      made.uri,
      'create table log (n int generated always as identity primary key, what text)',
      'create index on log (what)',
      "insert into log (what) values ('one')",
    );
    return made;
  }

  it('finds a dropped table again; open sessions end, the same connection string goes on', async () => {
    const b = await branch('dropped');
    await checkpoint(b, 'before-the-mistake');
    const session = new Client({ connectionString: b.uri });
    const ended = new Promise<{ code?: string; message: string }>((resolve) => {
      session.on('error', resolve);
      session.on('end', () => resolve({ message: 'closed' }));
    });
    await session.connect();
    await session.query('select count(*) from log');
    await sql(b.uri, "insert into log (what) values ('two')", 'drop table log');
    const began = performance.now();
    const { branch: restored } = await restore(b, {
      source_branch_id: b.id,
      source_checkpoint: 'before-the-mistake',
    });
    const ms = performance.now() - began;
    expect(restored).toMatchObject({ id: b.id, name: 'dropped', restored_from: b.id });
    const how = await ended;
    expect(how.code ?? how.message).toMatch(
      /^(57P01|57P02|08006|ECONNRESET|closed|Connection terminated.*)$/,
    );
    const again = performance.now();
    expect(await read(b.uri)).toEqual(['one']);
    process.stdout.write(
      `restore with a running compute ${ms.toFixed(0)} ms, reconnect ${(performance.now() - again).toFixed(0)} ms\n`,
    );
    await write(b, 'three');
    expect(await read(b.uri)).toEqual(['one', 'three']);
    expect(await amcheck(stack, b.endpoint)).toBe('');
  });

  it('undoes the restore, and undoes that', async () => {
    const b = await branch('undone');
    const lsn = await lsnOf(b);
    await write(b, 'two');
    await restore(b, { source_branch_id: b.id, source_lsn: lsn });
    expect(await read(b.uri)).toEqual(['one']);
    await write(b, 'instead');
    const [undo] = await checkpoints(b);
    await restore(b, { source_branch_id: b.id, source_checkpoint: undo.name });
    expect(await read(b.uri)).toEqual(['one', 'two']);
    const [redo] = await checkpoints(b);
    await restore(b, { source_branch_id: b.id, source_checkpoint: redo.id });
    expect(await read(b.uri)).toEqual(['one', 'instead']);
    expect(await amcheck(stack, b.endpoint)).toBe('');
  });

  it('goes to a time, keeping the state before as a branch with everything that was acknowledged', async () => {
    const b = await branch('timed');
    const child = await fork(stack, project, { name: 'timed-child', parent_id: b.id });
    await new Promise((r) => setTimeout(r, 300));
    const at = new Date();
    await new Promise((r) => setTimeout(r, 300));
    let acknowledged = 0;
    let going = true;
    const writing = withClient(b.uri, async (client) => {
      while (going) {
        await client.query(`insert into log (what) values ('w${acknowledged + 1}')`);
        acknowledged += 1;
      }
    }).catch(() => undefined);
    await eventually(60_000, async () => expect(acknowledged).toBeGreaterThan(10));
    const { branch: restored } = await restore(b, {
      source_branch_id: b.id,
      source_timestamp: at.toISOString(),
      preserve_under_name: 'timed-kept',
    });
    going = false;
    await writing;
    expect(await read(b.uri)).toEqual(['one']);
    const kept = await fork(stack, project, { name: 'look', parent_id: restored.restored_as });
    const rows = await read(kept.uri);
    expect(rows.slice(0, acknowledged + 1)).toEqual([
      'one',
      ...Array.from({ length: acknowledged }, (_, i) => `w${i + 1}`),
    ]);
    expect((await stack.ask('GET', of(child))).branch.parent_id).toBe(restored.restored_as);
    await write(child, 'alive');
    expect(await read(child.uri)).toEqual(['one', 'alive']);
    expect(await amcheck(stack, child.endpoint)).toBe('');
  });

  it('takes the head of its parent again', async () => {
    const parent = await branch('parent');
    const b = await fork(stack, project, { name: 'reset', parent_id: parent.id });
    await write(b, 'mine');
    await write(parent, 'theirs');
    const { branch: reset } = await restore(b, { source_branch_id: parent.id });
    expect(reset.parent_id).toBe(parent.id);
    expect(await read(b.uri)).toEqual(['one', 'theirs']);
    await write(b, 'mine again');
    expect(await read(parent.uri)).toEqual(['one', 'theirs']);
  });

  it(`goes back ${TIMES} times, each time to the one before, and from as many levels down`, async () => {
    const b = await branch('deep');
    const lsns = [await lsnOf(b)];
    for (let i = 1; i <= TIMES; i++) {
      await write(b, `w${i}`);
      lsns.push(await lsnOf(b));
      if (i > 1) await restore(b, { source_branch_id: b.id, source_lsn: lsns[i]! });
    }
    for (let i = TIMES - 1; i >= 0; i--) {
      await restore(b, { source_branch_id: b.id, source_lsn: lsns[i]! });
      expect(await read(b.uri)).toHaveLength(i + 1);
    }
    let below = b;
    for (let depth = 1; depth <= TIMES; depth++) {
      below = await fork(stack, project, { name: `deep-${depth}`, parent_id: below.id });
      await write(below, `level ${depth}`);
    }
    await restore(below, { source_branch_id: below.id, source_lsn: lsns[0]! });
    expect(await read(below.uri)).toEqual(['one']);
    expect(await amcheck(stack, below.endpoint)).toBe('');
  });

  it('keeps its credentials for a role that the state before did not have', async () => {
    const b = await branch('roles');
    const lsn = await lsnOf(b);
    const { role } = await stack.ask('POST', `${of(b)}/roles`, { role: { name: 'late' } });
    const uri = new URL(b.uri);
    uri.username = 'late';
    uri.password = role.password;
    expect(await sql(uri.href, 'select current_user')).toEqual([{ current_user: 'late' }]);
    await restore(b, { source_branch_id: b.id, source_lsn: lsn });
    expect(await sql(uri.href, 'select current_user')).toEqual([{ current_user: 'late' }]);
  });

  it('becomes a snapshot again, with the same connection string and the other state as "(old)"', async () => {
    const b = await branch('snapped');
    const { snapshot } = await stack.ask('POST', `${of(b)}/snapshot?name=good`);
    await write(b, 'bad');
    const { branch: restored } = await stack.ask(
      'POST',
      `/projects/${project}/snapshots/${snapshot.id}/restore`,
      { target_branch_id: b.id, finalize_restore: true },
    );
    expect(restored.id).toBe(b.id);
    expect(await read(b.uri)).toEqual(['one']);
    const old = await fork(stack, project, { name: 'old-look', parent_id: restored.restored_as });
    expect(await read(old.uri)).toEqual(['one', 'bad']);
    expect(
      (await stack.ask('GET', `/projects/${project}/branches/${restored.restored_as}`)).branch.name,
    ).toBe('snapped (old)');
  });

  it('leaves the others alone', async () => {
    expect(await sql(main.uri, 'select 1 as one')).toEqual([{ one: 1 }]);
  });
});
