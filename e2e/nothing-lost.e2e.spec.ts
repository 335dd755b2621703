/** Every commit that a client was told of is there afterwards, whatever was killed meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { amcheck, eventually, leave, sharedStack, sql, type Stack } from '@coppice/testing';

jest.setTimeout(600_000);

const WRITERS = 4;

/** Inserts numbered rows one commit at a time and remembers each that was acknowledged; reconnects when it must. */
class Recorder {
  readonly acknowledged: string[] = [];
  #stopped = false;
  readonly #done: Promise<void>;

  constructor(uri: string, writer: number) {
    this.#done = this.#run(uri, writer);
  }

  async #run(uri: string, writer: number): Promise<void> {
    let client: Client | undefined;
    for (let n = 0; !this.#stopped; n += 1) {
      const key = `${writer}-${n}`;
      try {
        if (!client) {
          client = new Client({
            connectionString: uri,
            connectionTimeoutMillis: 65_000,
            query_timeout: 30_000,
          });
          client.on('error', () => undefined);
          await client.connect();
        }
        await client.query("insert into ledger values ($1, repeat('x', 200))", [key]);
        this.acknowledged.push(key);
      } catch {
        await client?.end().catch(() => undefined);
        client = undefined;
        await sleep(100);
      }
    }
    await client?.end().catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }
}

describe('nothing acknowledged is lost', () => {
  let stack: Stack;
  let project: string;
  let endpoint: string;
  let uri: string;
  let recorders: Recorder[] = [];

  beforeAll(async () => {
    stack = await sharedStack();
    const made = await stack.ask('POST', '/projects', { project: { name: 'ledger' } });
    project = made.project.id;
    endpoint = made.endpoints[0].id;
    uri = made.connection_uris[0].connection_uri;
    await sql(uri, 'create table ledger (key text primary key, pad text)');
    recorders = Array.from({ length: WRITERS }, (_, i) => new Recorder(uri, i));
  });
  afterAll(async () => {
    await Promise.all(recorders.map((r) => r.stop()));
    if (stack) await leave(stack);
  });

  const total = (): number => recorders.reduce((sum, r) => sum + r.acknowledged.length, 0);
  /** Commits go on after the kill. */
  const goesOn = async (): Promise<void> => {
    const from = total();
    await eventually(60_000, async () => expect(total()).toBeGreaterThan(from + 20));
  };

  const kills: [string, () => void][] = [
    ['the compute', () => stack.computePids().forEach((pid) => process.kill(pid, 'SIGKILL'))],
    ['a safekeeper', () => stack.kill9('safekeeper-1')],
    ['the pageserver', () => stack.kill9('pageserver')],
    ['the proxy', () => stack.kill9('compute-proxy')],
    ['the control-plane', () => stack.kill9('control-plane')],
    ['the compute agent', () => stack.kill9('compute-agent')],
    ['another safekeeper', () => stack.kill9('safekeeper-2')],
  ];

  it.each(kills)('commits go on after kill -9 of %s', async (_name, kill) => {
    await goesOn();
    kill();
    await goesOn();
  });

  it('every acknowledged commit is there on a new compute, and the indexes agree', async () => {
    await Promise.all(recorders.map((r) => r.stop()));
    await eventually(60_000, () => stack.ask('POST', `/projects/${project}/endpoints/${endpoint}/suspend`));
    const there = new Set((await sql(uri, 'select key from ledger')).map((row) => row['key'] as string));
    const missing = recorders.flatMap((r) => r.acknowledged).filter((key) => !there.has(key));
    expect(missing).toEqual([]);
    expect(total()).toBeGreaterThan(300);
    expect(await amcheck(stack, endpoint)).toBe('');
  });
});
