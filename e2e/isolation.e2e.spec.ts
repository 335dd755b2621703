/** What somebody reaches who has broken into a compute: code run as its user, by its own Postgres. */
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { asAdmin, type Json, Stack, wake } from '@coppice/testing';

jest.setTimeout(180_000);
/** Without root all computes run as the stack's own user. */
const asRoot = process.getuid?.() === 0 ? describe : describe.skip;

interface Paths {
  readonly files: string[];
  readonly directories: string[];
  readonly sockets: string[];
}

interface Reached {
  readonly uid: number;
  readonly readable: string[];
  readonly writable: string[];
  readonly listable: string[];
  readonly sockets: Record<string, string>;
  readonly processes: { environ: string; memory: string; files: string; signal: string }[];
  readonly commandLines: string[];
  readonly inherited: string[];
  readonly tcp: Record<string, string>;
}

/** Everything below a directory, as root sees it. */
function everythingBelow(
  directory: string,
  into: Paths = { files: [], directories: [], sockets: [] },
): Paths {
  into.directories.push(directory);
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) everythingBelow(path, into);
    else if (entry.isSocket()) into.sockets.push(path);
    else if (entry.isFile()) into.files.push(path);
  }
  return into;
}

/** Ports on which processes listen, by the inodes of their sockets. */
function listeningPorts(pids: readonly number[]): number[] {
  const inodes = new Set(
    pids.flatMap((pid) =>
      readdirSync(`/proc/${pid}/fd`).map((fd) => {
        try {
          return statSync(`/proc/${pid}/fd/${fd}`).ino;
        } catch {
          return 0;
        }
      }),
    ),
  );
  const LISTEN = '0A';
  return ['tcp', 'tcp6']
    .flatMap((table) => readFileSync(`/proc/net/${table}`, 'utf8').trim().split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[3] === LISTEN && inodes.has(Number(columns[9])))
    .map((columns) => parseInt(columns[1]!.split(':')[1]!, 16));
}

asRoot('a compute that is broken into', () => {
  let stack: Stack;
  let scratch: string;
  let own: string;
  let neighbour: string;
  let all: Paths;
  let ports: number[];
  let reached: Reached;
  const pids = (): number[] => stack.file.services.map((s) => s.pid);

  beforeAll(async () => {
    stack = await Stack.start();
    // As `./coppice up` makes one that it is told the name of; the temporary directory of a test hides all that is in it.
    chmodSync(stack.dataDirectory, 0o755);
    const computes: { endpoint: string; root: string }[] = [];
    for (const name of ['broken-into', 'neighbour']) {
      const made = await stack.ask('POST', '/projects', { project: { name } });
      const endpoint: string = made.endpoints[0].id;
      await asAdmin(stack, endpoint, 'postgres', (c) => c.query('create table t (line text)'));
      computes.push({ endpoint, root: dirname((await wake(stack, endpoint)).socketDirectory) });
    }
    own = computes[0]!.root;
    neighbour = computes[1]!.root;
    all = everythingBelow(stack.file.runDirectory, everythingBelow(stack.dataDirectory));
    ports = listeningPorts(pids());

    scratch = mkdtempSync(join(tmpdir(), 'intruder-'));
    chmodSync(scratch, 0o755);
    copyFileSync(join(__dirname, 'src/intruder.cjs'), join(scratch, 'intruder.cjs'));
    writeFileSync(join(scratch, 'try.json'), JSON.stringify({ paths: all, pids: pids(), ports }));
    for (const file of ['intruder.cjs', 'try.json']) chmodSync(join(scratch, file), 0o644);
    const program = `exec env -i ${process.execPath} ${scratch}/intruder.cjs ${scratch}/try.json`;
    reached = await asAdmin(stack, computes[0]!.endpoint, 'postgres', async (c) => {
      await c.query(`copy t from program '${program}' with (format csv, delimiter e'\\x01', quote e'\\x02')`);
      const { rows } = await c.query<{ line: string }>('select line from t');
      return JSON.parse(rows[0]!.line) as Reached;
    });
  });
  afterAll(async () => {
    await stack?.remove();
    if (scratch) rmSync(scratch, { recursive: true });
  });

  const foreign = (paths: readonly string[]): string[] =>
    paths.filter((path) => !`${path}/`.startsWith(`${own}/`));
  /** What all computes run, and may read: PostgreSQL itself and the interposer. */
  const isProgram = (path: string): boolean => /\/c\/(pg17-[^/]*|interposer\.so)(\/|$)/.test(path);

  it('runs as a user of its own', () => {
    expect(reached.uid).toBe(statSync(own).uid);
    expect(reached.uid).toBeGreaterThanOrEqual(210_000);
    expect(reached.uid).not.toBe(statSync(neighbour).uid);
  });

  it('reaches its own page source and Postgres, and no socket of a service or of another compute', () => {
    const working = Object.keys(reached.sockets).filter((path) => reached.sockets[path] === 'works');
    expect(foreign(working)).toEqual([]);
    expect(working).toContain(join(own, 's', 'p'));
    const refused = Object.entries(reached.sockets).filter(([path]) => foreign([path]).length > 0);
    expect(new Set(refused.map(([, code]) => code))).toEqual(new Set(['EACCES']));
    const run = stack.file.runDirectory;
    expect(refused.map(([path]) => path)).toEqual(
      expect.arrayContaining([
        ...['control', 'sk1', 'sk2', 'sk3', 'pageserver', 'agent', 'supervisor'].map((name) =>
          join(run, 'svc', name),
        ),
        join(run, 'meta', '.s.PGSQL.5432'),
        join(neighbour, 's', 'p'),
        join(neighbour, 's', '.s.PGSQL.5432'),
      ]),
    );
  });

  it('reads no secret, no data and no log, and writes nothing but its own', () => {
    expect(foreign(reached.readable).filter((path) => !isProgram(path))).toEqual([]);
    expect(foreign(reached.writable)).toEqual([]);
    for (const secret of ['secrets.json', 'stack.json', 'proxy.key'])
      expect(all.files).toContain(join(stack.dataDirectory, secret));
  });

  it('sees names in the data directory, and in no directory below it', () => {
    expect(foreign(reached.listable).filter((path) => !isProgram(path))).toEqual([stack.dataDirectory]);
  });

  it('reads neither the environment nor the memory of a service, and cannot signal it', () => {
    expect(reached.processes).toHaveLength(10);
    for (const found of reached.processes)
      expect(found).toEqual({ environ: 'EACCES', memory: 'EACCES', files: 'EACCES', signal: 'EPERM' });
  });

  it('finds no secret in its environment or on a command line', () => {
    expect(reached.inherited.map((setting) => setting.split('=')[0])).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/TOKEN|KEY|SECRET|PASSWORD/)]),
    );
    const secrets: Json = JSON.parse(readFileSync(join(stack.dataDirectory, 'secrets.json'), 'utf8'));
    const seen = [...reached.inherited, ...reached.commandLines].join('\n');
    for (const secret of Object.values<string>(secrets)) expect(seen).not.toContain(secret);
    expect(seen).not.toMatch(/v1\.eyJ/);
  });

  it('finds the ports of both APIs, of both ways to Postgres and of metrics, which ask it for a key as anybody', async () => {
    const { api, grpc, postgres, http } = stack.file;
    const [apiPort, grpcPort] = [Number(new URL(api).port), Number(grpc.split(':').at(-1))];
    const metrics = stack.file.services.flatMap((s) => s.metrics ?? []);
    const shown = metrics.map((url) => Number(new URL(url).port));
    expect(ports.sort()).toEqual([apiPort, grpcPort, postgres.port, http.port, ...shown].sort());
    for (const url of metrics) expect((await fetch(url)).status).toBe(401);
    expect((await fetch(`${api}/projects`)).status).toBe(401);
    const unnamed = await fetch(`http://127.0.0.1:${http.port}/sql`, {
      method: 'POST',
      body: JSON.stringify({ query: 'select 1' }),
    });
    expect(unnamed.status).toBe(400);
  });
});
