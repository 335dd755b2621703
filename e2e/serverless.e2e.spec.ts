/** Unmodified clients that come over HTTP and WebSocket: the driver of Neon, Drizzle on it, and Prisma with its adapter. */
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Json, leave, sharedStack, type Stack, workspaceRoot } from '@coppice/testing';

jest.setTimeout(180_000);

const run = promisify(execFile);

let stack: Stack;
beforeAll(async () => {
  stack = await sharedStack();
});
afterAll(() => stack && leave(stack));

/** Runs a client against a database of its own; gives what it found. */
async function session(script: string): Promise<Json> {
  const made = await stack.ask('POST', '/projects', { project: { name: 'serverless' } });
  const { host, port } = stack.file.http;
  const { stdout } = await run(process.execPath, [script], {
    env: {
      ...process.env,
      DATABASE_URL: made.connection_uris[0].connection_uri,
      SQL_ADDRESS: `${host}:${port}`,
    },
    timeout: 90_000,
  });
  const project = made.project.id;
  return { ...JSON.parse(stdout), project, endpoint: made.endpoints[0].id };
}

it('the driver of Neon and Drizzle, over HTTP and in sessions', async () => {
  expect(await session(join(__dirname, 'clients/serverless.mjs'))).toMatchObject({
    template: { id: 1, title: 'one', tags: ['a', 'b "c"'], seen: null, more: { x: [1] } },
    arrays: [[2, null]],
    full: { command: 'SELECT', rowCount: 1, rows: [{ n: 1 }], field: 23 },
    error: { code: '23505', constraint: 'posts_title_key', table: 'posts', severity: 'ERROR' },
    transaction: [[{ transaction_isolation: 'repeatable read' }], [{ transaction_read_only: 'on' }]],
    rolledBack: '22012',
    within: [{ title: 'changed' }],
    after: [{ title: 'one' }],
    heard: 'hello',
    drizzleHttp: { title: 'drizzle', tags: ['x'], seen: true, more: { y: null } },
    drizzleBatch: [{ n: 1 }],
    drizzleTransaction: [{ id: 1, n: 2 }],
  });
});

it('Prisma, over its adapter', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'coppice-prisma-'));
  try {
    cpSync(join(__dirname, 'clients/prisma'), directory, { recursive: true });
    symlinkSync(join(workspaceRoot(), 'node_modules'), join(directory, 'node_modules'));
    await run(
      process.execPath,
      [join(workspaceRoot(), 'node_modules/prisma/build/index.js'), 'generate', '--schema', 'schema.prisma'],
      {
        cwd: directory,
        // Generating does not run the schema engine, but would download it.
        env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1' },
        timeout: 90_000,
      },
    );
    const outfile = join(directory, 'bundle.mjs');
    const bundling = ['--bundle', '--packages=external', '--platform=node', '--format=esm'];
    await run(
      join(workspaceRoot(), 'node_modules/.bin/esbuild'),
      [join(directory, 'session.mjs'), ...bundling, `--outfile=${outfile}`],
      { timeout: 60_000 },
    );
    expect(await session(outfile)).toMatchObject({
      created: { id: 1, made: true, title: 'one', done: false, tags: ['a'], price: '1.1' },
      rolledBack: 'P2002',
      found: [
        { title: 'one', done: true },
        { title: 'two', done: false },
      ],
      raw: [{ n: 1 }],
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

it('a client over HTTP notices nothing of a suspend', async () => {
  const made = await stack.ask('POST', '/projects', { project: { name: 'sleeps' } });
  const { host, port } = stack.file.http;
  const query = async (): Promise<Json> => {
    const response = await fetch(`http://${host}:${port}/sql`, {
      method: 'POST',
      headers: { 'neon-connection-string': made.connection_uris[0].connection_uri },
      body: JSON.stringify({ query: 'select 1 as a' }),
    });
    return [response.status, (await response.json()) as Json];
  };
  for (let i = 0; i < 3; i += 1) {
    expect(await query()).toMatchObject([200, { rows: [{ a: 1 }] }]);
    await stack.ask('POST', `/projects/${made.project.id}/endpoints/${made.endpoints[0].id}/suspend`);
  }
  // While it is on its way to sleep as well.
  expect(await query()).toMatchObject([200, {}]);
  const suspended = stack.ask(
    'POST',
    `/projects/${made.project.id}/endpoints/${made.endpoints[0].id}/suspend`,
  );
  const answers = await Promise.all(Array.from({ length: 8 }, query));
  await suspended;
  for (const answer of answers) expect(answer).toMatchObject([200, { rows: [{ a: 1 }] }]);
});
