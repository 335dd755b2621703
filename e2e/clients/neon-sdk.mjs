// A session of an unmodified @neon/sdk, in a process of its own because the package is ESM only: one JSON object of results.
import { createNeonClient } from '@neon/sdk';

const neon = createNeonClient({
  apiKey: process.env.NEON_API_KEY,
  baseUrl: process.env.NEON_API_HOST,
  throwOnError: true,
});
const out = {};
const { project, connectionString } = await neon.projects.createAndConnect({ name: 'sdk' });
const projectId = project.id;
out.connectionString = connectionString;
out.projects = (await neon.projects.list().all()).map((p) => p.name);
out.renamed = (await neon.projects.update({ projectId, name: 'sdk-2' })).name;
const main = await neon.branches.getDefault({ projectId });
const forked = await neon.branches.createAndConnect({ projectId, name: 'try', parent_id: main.id });
out.forked = { name: forked.branch.name, connectionString: forked.connectionString };
const branchId = forked.branch.id;
out.branches = (await neon.branches.list({ projectId }).all()).map((b) => b.name).sort();
await neon.postgres.roles.create({ projectId, branchId, name: 'app' });
out.roles = (await neon.postgres.roles.list({ projectId, branchId })).map((r) => r.name).sort();
await neon.postgres.databases.create({ projectId, branchId, name: 'shop', owner_name: 'app' });
out.databases = (await neon.postgres.databases.list({ projectId, branchId })).map((d) => d.name).sort();
out.reset = (await neon.branches.resetFromParent({ projectId, branchId })).id === branchId;
const snapshot = await neon.snapshots.create({ projectId, branchId: main.id, name: 'nightly' });
out.snapshots = (await neon.snapshots.list({ projectId })).map((s) => s.name);
await neon.snapshots.delete({ projectId, snapshotId: snapshot.id });
out.operations = (await neon.operations.list({ projectId }).all()).every((o) => o.status === 'finished');
const { data, error } = await neon.branches.get(
  { projectId, branchId: 'br-no-such-1' },
  { throwOnError: false },
);
out.missing = { data, kind: error?.kind, code: error?.code };
await neon.branches.delete({ projectId, branchId });
await neon.projects.delete({ projectId });
out.left = (await neon.projects.list().all()).map((p) => p.id).includes(projectId);
process.stdout.write(JSON.stringify(out));
