/** The client against a real control-plane process, directly and through a relay that loses connections and answers. */
import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlPlaneProcess, TEST_KEY } from '@coppice/testing';
import { createClient } from './create-client';

/** Long enough for the server to do what it was asked. */
const HOLD_MS = 700;

/** Between client and server: passes on, or keeps answers back and then cuts, or cuts at once. */
class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly path: string;
  /** Connections to cut as soon as they are made. */
  cut = 0;
  /** Connections whose answers are lost, from now on. */
  swallow = 0;

  constructor(target: string) {
    this.path = `${target}-relay`;
    this.#server = createServer((client) => {
      const server = connect(target);
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket
          .on('error', () => undefined)
          .on('close', () => {
            this.#sockets.delete(socket);
            client.destroy();
            server.destroy();
          });
      }
      if (this.cut > 0) {
        this.cut -= 1;
        client.destroy();
        return;
      }
      client.pipe(server);
      server.on('data', (answer: Buffer) => {
        if (this.swallow === 0) return void client.write(answer);
        setTimeout(() => {
          if (client.destroyed) return;
          this.swallow = Math.max(0, this.swallow - 1);
          client.destroy();
        }, HOLD_MS);
      });
    });
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.path, resolve));
  }

  /** Cuts all connections there are. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.drop();
    this.#server.close();
    rmSync(this.path, { force: true });
  }
}

let plane: ControlPlaneProcess;
let relay: Relay;
const clientOf = (options: Partial<Parameters<typeof createClient>[0]> = {}) =>
  createClient({ address: `unix:${relay.path}`, apiKey: TEST_KEY, ...options });

beforeAll(async () => {
  plane = await ControlPlaneProcess.start();
  relay = new Relay(plane.publicAddress.slice('unix:'.length));
  await relay.listen();
});
afterAll(async () => {
  relay?.close();
  await plane?.stop();
});
afterEach(() => {
  relay.cut = 0;
  relay.swallow = 0;
});

describe('a client with an API key', () => {
  it('makes a project, forks it, and finds both under its task', async () => {
    const client = clientOf({ taskId: 'job-1' });
    const { project, branch } = await client.createProject({ name: 'shop' });
    const step = client.withTask('job-1/step-2');
    const forked = await step.createBranch({
      projectId: project.id,
      name: 'try',
      endpoints: [{ type: 'read_write' }],
    });
    expect(forked.branch).toMatchObject({ name: 'try', parentId: branch.id, taskId: 'job-1/step-2' });
    const { agent } = await client.createAgent({ name: 'a', quotas: { projects: 2 } });
    expect(agent.quotas.projects).toBe(2);
    const { entries } = await client.listAudit({ taskId: 'job-1' });
    expect(entries.map((e) => [e.action, e.taskId])).toEqual(
      expect.arrayContaining([
        ['create-branch', 'job-1/step-2'],
        ['create-project', 'job-1'],
      ]),
    );
    client.close();
  });

  it('gets refusals with their stable code, at once', async () => {
    const client = clientOf();
    await expect(client.getProject({ projectId: 'no-such-project' })).rejects.toMatchObject({
      kind: 'NotFound',
      code: 'project-not-found',
      remedy: expect.any(String),
    });
    await expect(clientOf({ apiKey: 'cpk_wrongwrongwrong' }).whoAmI({})).rejects.toMatchObject({
      code: 'bad-api-key',
    });
    client.close();
  });
});

describe('over connections that break', () => {
  it('a call that never reached the server is made again', async () => {
    const client = clientOf({ retries: { attempts: 8 } });
    await client.whoAmI({});
    relay.cut = 3;
    relay.drop();
    expect((await client.whoAmI({})).scope).toBe('fleet');
    expect(relay.cut).toBe(0);
    client.close();
  });

  it('a creation whose answer is lost is asked for again and done once', async () => {
    const client = clientOf();
    await client.whoAmI({});
    relay.swallow = 1;
    const { project } = await client.createProject({ name: 'once' });
    expect(relay.swallow).toBe(0);
    const { projects } = await client.listProjects({ search: 'once' });
    expect(projects.map((p) => p.id)).toEqual([project.id]);
    client.close();
  });

  it('a deletion whose answer is lost is not asked for again', async () => {
    const client = clientOf();
    const { project } = await client.createProject({ name: 'gone' });
    relay.swallow = 1;
    await expect(client.deleteProject({ projectId: project.id })).rejects.toMatchObject({
      kind: 'Unavailable',
    });
    await sleep(100);
    expect((await client.listProjects({ search: 'gone' })).projects).toEqual([]);
    client.close();
  });

  it('calls are given up after the policy’s attempts, at the deadline, and when the caller says so', async () => {
    const nobody = { address: `unix:${relay.path}-nobody` };
    const few = clientOf({ ...nobody, retries: { attempts: 2, baseMs: 1 } });
    await expect(few.whoAmI({})).rejects.toMatchObject({ kind: 'Unavailable' });
    const patient = clientOf({ ...nobody, retries: { attempts: 100, baseMs: 200 } });
    const began = performance.now();
    await expect(patient.whoAmI({}, { deadlineMs: 600 })).rejects.toMatchObject({ kind: 'Unavailable' });
    expect(performance.now() - began).toBeLessThan(2_000);
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error('enough')), 300);
    await expect(patient.whoAmI({}, { signal: stop.signal })).rejects.toThrow('enough');
    few.close();
    patient.close();
  });
});
