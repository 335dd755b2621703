/** Trees of branches with data: time to live, deletion and recovery of subtrees, and what purges free. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type BranchModel,
  connectPublic,
  controlContract,
  type CreateBranchRequest,
  type Omittable,
  pageserverContract,
  type PublicClient,
  safekeeperContract,
} from '@coppice/contracts';
import { eventually, SAFEKEEPER_NAMES, sql, Stack, stackIdentities } from '@coppice/testing';
import type { TimelineId } from '@coppice/vocabulary';

jest.setTimeout(600_000);

/** The reaper looks often; that much of a small fleet ends at once is what the test wants. */
const REAPER = { COPPICE_REAPER_END_EVERY_MS: '300', COPPICE_REAPER_BRAKE_FLOOR: '100000' };
const WIDTH = 3;
const DEPTH = 4;

interface Node {
  readonly branch: BranchModel;
  readonly endpoint: string;
  readonly uri: string;
  /** Names of the branches from the root to this one that wrote a row. */
  readonly path: readonly string[];
  readonly children: Node[];
}

describe('a tree of branches on a real stack', () => {
  let stack: Stack;
  let control: PublicClient<(typeof controlContract)['methods']>;
  let projectId: string;
  let root: Node;
  let call: { headers: Record<string, string> };

  beforeAll(async () => {
    stack = await Stack.start(REAPER);
    call = { headers: { authorization: `Bearer ${stack.file.apiKey}` } };
    control = connectPublic(controlContract, {
      address: `unix:${join(stack.file.runDirectory, 'svc', 'control')}`,
      security: stackIdentities(stack).security('gateway'),
    });
    const made = await control.createProject({ name: 'forest' }, call);
    projectId = made.project.id;
    const [endpoint] = made.endpoints;
    root = {
      branch: made.branch,
      endpoint: endpoint!.id,
      uri: made.connectionUris[0]!.uri,
      path: ['main'],
      children: [],
    };
    await sql(root.uri, 'create table visits (name text)', "insert into visits values ('main')");
    await suspend(root);
  });
  afterAll(async () => {
    control?.close();
    await stack?.remove();
  });

  const suspend = (n: Node) => control.suspendEndpoint({ projectId, endpointId: n.endpoint }, call);
  const remove = (n: Node, over: object) =>
    control.deleteBranch({ projectId, branchId: n.branch.id, ...over }, call);
  const visits = async (n: Node) =>
    (await sql(n.uri, 'select name from visits')).map((r) => r['name'] as string).sort();
  const below = (n: Node): Node[] => [n, ...n.children.flatMap(below)];
  const alive = async () =>
    new Set((await control.listBranches({ projectId }, call)).branches.map((b) => b.id));

  async function fork(parent: Node, name: string, over: Omittable<CreateBranchRequest> = {}): Promise<Node> {
    const made = await control.createBranch(
      { projectId, parentId: parent.branch.id, name, endpoints: [{ type: 'read_write' }], ...over },
      call,
    );
    const uri = made.connectionUris[0]!.uri;
    return { branch: made.branch, endpoint: made.endpoints[0]!.id, uri, path: parent.path, children: [] };
  }

  /** A child that wrote its own name, and is asleep. */
  async function writingFork(parent: Node, name: string): Promise<Node> {
    const child = await fork(parent, name);
    await sql(child.uri, `insert into visits values ('${name}')`);
    await suspend(child);
    const node = { ...child, path: [...parent.path, name] };
    parent.children.push(node);
    return node;
  }

  /** Which of all timelines that this test made still have something on each service and on disk. */
  async function stored(timelines: readonly TimelineId[]): Promise<Set<TimelineId>> {
    const identities = stackIdentities(stack);
    const address = (name: string) => `unix:${join(stack.file.runDirectory, 'svc', name)}`;
    const found = new Set<TimelineId>();
    for (const name of SAFEKEEPER_NAMES) {
      const safekeeper = identities.everyone(safekeeperContract, address(name));
      const listed = await safekeeper.listTimelines({ cursor: '', limit: 1000 });
      for (const t of listed.timelines) if (!t.deleted) found.add(t.timelineId);
      safekeeper.close();
    }
    const pageserver = identities.everyone(pageserverContract, address('pageserver'));
    const { timelineIds } = await pageserver.listTimelines({ cursor: '', limit: 1000 });
    for (const id of timelineIds) found.add(id);
    pageserver.close();
    for (const id of timelines) if (filesOf(id).length > 0) found.add(id);
    return found;
  }

  /** Files of WAL and layers whose path names the timeline. */
  function filesOf(id: TimelineId): string[] {
    const places = [1, 2, 3].map((n) => join(stack.dataDirectory, `safekeeper-${n}`));
    return [...places, join(stack.dataDirectory, 'objects')]
      .flatMap(filesBelow)
      .filter((path) => path.includes(id) && !path.includes('deleted') && !path.includes('tombstone'));
  }

  it('grows four deep and three wide, each branch with a row of its own', async () => {
    for (let level = [root], depth = 1; depth < DEPTH; depth++) {
      const next: Node[] = [];
      for (const parent of level)
        for (let i = 0; i < WIDTH; i++) {
          const name = `${parent === root ? 'b' : parent.branch.name}${i}`;
          // The last level writes on its first branches only: thirty cold starts less.
          const writes = depth < DEPTH - 1 || i === 0;
          if (writes) next.push(await writingFork(parent, name));
          else {
            const child = await fork(parent, name);
            parent.children.push(child);
            next.push(child);
          }
        }
      level = next;
    }
    expect(await alive()).toEqual(new Set(below(root).map((n) => n.branch.id)));
    expect(below(root)).toHaveLength(40);
    const leaf = root.children[0]!.children[0]!.children[0]!;
    expect(await visits(leaf)).toEqual(['b0', 'b00', 'b000', 'main']);
  });

  it('loses a subtree whole, with open sessions, and has it back with its data and the same connection strings', async () => {
    const top = root.children[0]!;
    const leaf = top.children[1]!.children[0]!;
    const cut = below(top).map((n) => n.branch.id);
    await sql(leaf.uri, "insert into visits values ('late')");
    await remove(top, { children: 'delete' });
    const left = await alive();
    expect(cut.filter((id) => left.has(id))).toEqual([]);
    expect(left.size).toBe(40 - cut.length);
    await expect(sql(leaf.uri, 'select 1')).rejects.toThrow();
    expect(await visits(root.children[1]!)).toEqual(['b1', 'main']);
    const back = await control.recoverBranch({ projectId, branchId: top.branch.id }, call);
    expect(back.others).toHaveLength(cut.length - 1);
    expect(await visits(leaf)).toEqual(['b0', 'late', 'b01', 'main', 'b010'].sort());
    expect(await visits(top)).toEqual(['b0', 'main']);
  });

  it('keeps the children of a branch that goes for good, and all their history', async () => {
    const parent = root.children[2]!;
    await remove(parent, { children: 'keep', hard: true });
    await eventually(60_000, async () => {
      const { branches } = await control.listBranches({ projectId, includeDeleted: true }, call);
      expect(branches.map((b) => b.id)).not.toContain(parent.branch.id);
      const child = await control.getBranch({ projectId, branchId: parent.children[0]!.branch.id }, call);
      expect(child.parentId).toBe('');
    });
    for (const child of parent.children) expect(await visits(child)).toEqual(child.path.slice().sort());
    const grandchild = await fork(parent.children[0]!, 'late-grandchild');
    expect(await visits(grandchild)).toEqual(['b2', 'b20', 'main'].sort());
    expect(await stored([])).toContain(parent.branch.timelineId);
  });

  it('ends branches by each kind of time to live, and none that is renewed or used', async () => {
    const expiresUnixMs = Date.now() + 4_000;
    const absolute = await fork(root, 'absolute', {
      ttl: { kind: 'absolute', expiresUnixMs, subtree: true },
    });
    const under = await fork(absolute, 'under-absolute');
    const lease = await fork(root, 'lease', { ttl: { kind: 'lease', seconds: 10 } });
    const renewed = await fork(root, 'renewed', { ttl: { kind: 'lease', seconds: 10 } });
    const idle = await fork(root, 'idle', { ttl: { kind: 'idle', seconds: 60 } });
    const used = await fork(root, 'used', { ttl: { kind: 'idle', seconds: 60 } });
    const began = Date.now();
    await eventually(80_000, async () => {
      await control.renewBranch({ projectId, branchId: renewed.branch.id }, call);
      await sql(used.uri, 'select 1');
      const left = await alive();
      if (Date.now() - began < 50_000) expect(left).toContain(idle.branch.id);
      for (const n of [absolute, under, lease, idle]) expect(left).not.toContain(n.branch.id);
    });
    const left = await alive();
    for (const n of [renewed, used]) expect(left).toContain(n.branch.id);
    for (const n of [renewed, used]) await remove(n, { hard: true });
  });

  it('frees the WAL and objects of what was purged, and of nothing else, whoever dies meanwhile', async () => {
    const doomed = below(root.children[1]!);
    const kept = [...below(root.children[0]!), ...root.children[2]!.children.flatMap(below), root];
    const ids = (nodes: readonly Node[]) => nodes.map((n) => n.branch.timelineId!);
    const before = await stored(ids(kept));
    expect(ids(doomed).filter((id) => before.has(id)).length).toBeGreaterThan(3);
    expect(filesOf(root.children[1]!.branch.timelineId!).length).toBeGreaterThan(3);
    await remove(root.children[1]!, { children: 'delete', hard: true });
    stack.kill9('control-plane');
    stack.kill9('reaper');
    await eventually(60_000, async () => {
      const now = await stored([...ids(doomed), ...ids(kept)]);
      expect(ids(doomed).filter((id) => now.has(id))).toEqual([]);
    });
    const after = await stored(ids(kept));
    expect(ids(kept).filter((id) => before.has(id) && !after.has(id))).toEqual([]);
    const leaf = root.children[0]!.children[2]!.children[0]!;
    expect(await visits(leaf)).toEqual(leaf.path.slice().sort());
    expect(await visits(root)).toEqual(['main']);
  });

  it('leaves nothing behind when its project goes for good', async () => {
    const all = below(root).map((n) => n.branch.timelineId!);
    await control.deleteProject({ projectId, hard: true }, call);
    await eventually(90_000, async () => {
      const now = await stored(all);
      expect(all.filter((id) => now.has(id))).toEqual([]);
    });
  });
});

/** Files in a directory from which others take some away meanwhile. */
function filesBelow(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((e) =>
      e.isDirectory() ? filesBelow(join(directory, e.name)) : [join(directory, e.name)],
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
