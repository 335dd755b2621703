/** Who gets through to a handler, over real gRPC servers. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log, Part } from '@coppice/service-kit';
import { generateIdentityKey, IdentityIssuer, metricsRegistry, silentLog } from '@coppice/service-kit';
import { keyOf, keyPrefix, lsn, term, type TimelineId } from '@coppice/vocabulary';
import type { Client, Handlers } from './index';
import {
  connect,
  controlInternalContract,
  grpcServer,
  pageserverContract,
  safekeeperContract,
  serve,
} from './index';
import { securityFor, tokenFor } from './rpc/test-security.fixture';

const mine = 'ab'.repeat(16) as TimelineId;
const other = 'cd'.repeat(16) as TimelineId;
const key = keyOf(keyPrefix(5, 1663, 5, 1259, 0), 3);
const greeting = (timelineId: TimelineId) =>
  ({
    kind: 'greeting',
    value: {
      timelineId,
      startLsn: lsn(1n),
      systemIdentifier: 1n,
      pgVersion: 17,
      membership: { generation: 1, members: [], newMembers: [] },
      proposerId: 'p',
    },
  }) as const;

describe('a server', () => {
  const directory = mkdtempSync(join(tmpdir(), 'access-'));
  const address = `unix:${join(directory, 's')}`;
  const warnings: { fields: { code: string; unlogged: number }; text: string }[] = [];
  const handled: string[] = [];
  let server: Part;
  let safekeeper: Client<typeof safekeeperContract.methods>;
  let pageserver: Client<typeof pageserverContract.methods>;
  let control: Client<typeof controlInternalContract.methods>;

  const refused = (code: string, kind = 'Forbidden') => expect.objectContaining({ kind, code });
  const failure = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => undefined,
      (error: unknown) => error,
    );
  const drain = async (items: AsyncIterable<unknown>): Promise<number> => {
    let count = 0;
    for await (const item of items) count += item === undefined ? 0 : 1;
    return count;
  };
  /** Handlers that note that they were reached; only those that a test calls can answer. */
  const noting = (answers: Record<string, unknown>): never =>
    new Proxy(answers, {
      get: (made, name: string) =>
        made[name] ?? (() => Promise.reject(new Error(`${name} is not part of this test`))),
    }) as never;

  beforeAll(async () => {
    const log = silentLog();
    log.warn = ((fields: { code: string; unlogged: number }, line: string) =>
      void warnings.push({ fields, text: line })) as Log['warn'];
    const echo: Handlers<typeof safekeeperContract.methods>['propose'] = async (stream) => {
      stream.onMessage(({ kind }) => void handled.push(kind));
      await stream.closed;
    };
    server = grpcServer({
      address,
      log,
      security: securityFor('pageserver'),
      services: [
        serve(
          safekeeperContract,
          noting({
            propose: echo,
            readWal: async function* () {
              handled.push('readWal');
              yield { beginLsn: lsn(1n), wal: Buffer.alloc(0), commitLsn: lsn(1n) };
            },
            reportPageserver: async () => ({}),
          }),
        ),
        serve(
          pageserverContract,
          noting({
            getPages: (async (stream) => {
              stream.onMessage(({ id }) => stream.send({ id, pages: [], failure: undefined }));
              await stream.closed;
            }) satisfies Handlers<typeof pageserverContract.methods>['getPages'],
            importTimeline: (async (parts) => {
              await drain(parts);
              handled.push('imported');
              return { lsn: lsn(1n), systemIdentifier: 1n };
            }) satisfies Handlers<typeof pageserverContract.methods>['importTimeline'],
          }),
        ),
        serve(
          controlInternalContract,
          noting({ agentHeartbeat: async () => ({}), listRunning: async () => ({ computes: [] }) }),
        ),
      ],
    });
    await server.start();
    const nobody = { ...securityFor('reaper'), token: 'nothing' };
    safekeeper = connect(safekeeperContract, { address, security: nobody });
    pageserver = connect(pageserverContract, { address, security: nobody });
    control = connect(controlInternalContract, { address, security: nobody });
  });
  afterAll(async () => {
    for (const client of [safekeeper, pageserver, control]) client.close();
    await server.stop();
    rmSync(directory, { recursive: true });
  });
  beforeEach(() => void handled.splice(0));

  it('answers nobody without a token that its key signed', async () => {
    expect(await failure(control.listRunning({}))).toEqual(refused('identity-invalid', 'Unauthenticated'));
    const forged = new IdentityIssuer(generateIdentityKey()).issue('operator');
    expect(await failure(control.as(forged).listRunning({}))).toEqual(
      refused('identity-invalid', 'Unauthenticated'),
    );
    expect(await failure(control.as('').listRunning({}))).toEqual(
      refused('identity-missing', 'Unauthenticated'),
    );
  });

  it('answers a service that the table names, and no other', async () => {
    expect(await control.as(tokenFor('operator')).listRunning({})).toEqual({ computes: [] });
    for (const service of ['reaper', 'gateway', 'control-plane'] as const)
      expect(await failure(control.as(tokenFor(service)).listRunning({}))).toMatchObject({
        code: 'identity-not-allowed',
        message: `${service} may not call /coppice.control.internal.v1.ControlInternal/ListRunning`,
        remedy: 'It is for operator.',
      });
  });

  it('does not believe a token that was made for a server at another address', async () => {
    const made = (audience: string) => control.as(tokenFor('operator', { audience })).listRunning({});
    expect(await made(address)).toEqual({ computes: [] });
    expect(await failure(made('unix:/run/agent'))).toMatchObject({
      code: 'identity-not-allowed',
      message: `a token that operator made for unix:/run/agent was shown at ${address}`,
    });
  });

  it('hears of a node only from that node', async () => {
    const report = { nodeId: 'agent-1', address: 'a', incarnation: 'i', computes: [] };
    const one = control.as(tokenFor('compute-agent', { node: 'agent-1' }));
    expect(await one.agentHeartbeat(report)).toEqual({});
    expect(await failure(one.agentHeartbeat({ ...report, nodeId: 'agent-2' }))).toEqual(
      refused('node-not-allowed'),
    );
    const any = control.as(tokenFor('compute-agent'));
    expect(await failure(any.agentHeartbeat(report))).toEqual(refused('node-not-allowed'));
  });

  it("opens a compute's own timeline to its token, and all to a pageserver's", async () => {
    const read = (token: string, timelineId: TimelineId): Promise<number> =>
      drain(
        safekeeper.as(token).readWal({ timelineId, fromLsn: lsn(1n), uncommitted: false, term: term(0) }),
      );
    const compute = tokenFor('compute', { timeline: mine, compute: 'compute-1' });
    expect(await read(compute, mine)).toBe(1);
    expect(await failure(read(compute, other))).toMatchObject({
      kind: 'Forbidden',
      code: 'timeline-not-allowed',
      message: `the token of compute-1 opens timeline ${mine}, not ${other}`,
    });
    expect(await read(tokenFor('pageserver'), other)).toBe(1);
    expect(await failure(read(tokenFor('compute-agent', { node: 'agent-1' }), mine))).toEqual(
      refused('identity-not-allowed'),
    );
    expect(handled).toEqual(['readWal', 'readWal']);
  });

  it('compares what a stream says with the token that opened it', async () => {
    const propose = async (timelineId: TimelineId): Promise<unknown> => {
      const stream = safekeeper.as(tokenFor('compute', { timeline: mine })).propose();
      stream.onMessage(() => undefined);
      stream.send(greeting(timelineId));
      stream.end();
      return failure(stream.closed);
    };
    expect(await propose(mine)).toBeUndefined();
    expect(handled).toEqual(['greeting']);
    expect(await propose(other)).toEqual(refused('timeline-not-allowed'));
    expect(handled).toEqual(['greeting']);
  });

  it('compares every request of a stream of pages', async () => {
    const stream = pageserver.as(tokenFor('compute', { timeline: mine })).getPages();
    const answers: number[] = [];
    const answered = new Promise<void>((resolve) =>
      stream.onMessage(({ id }) => {
        answers.push(id);
        resolve();
      }),
    );
    stream.send({ id: 1, timelineId: mine, lsn: lsn(1n), keys: [key] });
    await answered;
    stream.send({ id: 2, timelineId: other, lsn: lsn(1n), keys: [key] });
    expect(await failure(stream.closed)).toEqual(refused('timeline-not-allowed'));
    expect(answers).toEqual([1]);
  });

  it('lets nobody into a stream, however they begin, whom the table does not name', async () => {
    const stream = pageserver.as(tokenFor('gateway')).getPages();
    stream.onMessage(() => undefined);
    stream.send({ id: 1, timelineId: mine, lsn: lsn(1n), keys: [key] });
    expect(await failure(stream.closed)).toEqual(refused('identity-not-allowed'));
    const none = pageserver.as('').getPages();
    expect(await failure(none.closed)).toEqual(refused('identity-missing', 'Unauthenticated'));
  });

  it("imports into the token's timeline only", async () => {
    const parts = (timelineId: TimelineId) =>
      [
        { kind: 'header', value: { timelineId } },
        { kind: 'chunk', value: { path: 'p', content: Buffer.from('x') } },
      ] as const;
    const compute = pageserver.as(tokenFor('compute', { timeline: mine }));
    expect(await failure(compute.importTimeline(parts(other)))).toEqual(refused('timeline-not-allowed'));
    expect(handled).toEqual([]);
    await compute.importTimeline(parts(mine));
    expect(handled).toEqual(['imported']);
  });

  it('counts each refusal and writes a few lines about many', async () => {
    const count = async (): Promise<number> => {
      const metric = await metricsRegistry.getSingleMetric('coppice_refused_calls_total')!.get();
      return metric.values.find((v) => v.labels['code'] === 'identity-not-allowed')!.value;
    };
    const before = await count();
    for (let i = 0; i < 20; i++) await failure(control.as(tokenFor('reaper')).listRunning({}));
    expect((await count()) - before).toBe(20);
    expect(warnings).toHaveLength(5);
    expect(warnings[0]).toMatchObject({
      text: 'call is refused',
      fields: { code: 'identity-invalid', unlogged: 0 },
    });
  });
});

describe('a table', () => {
  it('answers to nobody what it has no entry for', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'access-'));
    const address = `unix:${join(directory, 's')}`;
    const hole = {
      ...controlInternalContract,
      access: { ...(controlInternalContract.access as object), listRunning: undefined } as never,
    };
    const handlers = { listRunning: async () => ({ computes: [] }) } as never;
    const server = grpcServer({
      address,
      log: silentLog(),
      security: securityFor('control-plane'),
      services: [serve(hole, handlers)],
    });
    await server.start();
    const client = connect(controlInternalContract, { address, security: securityFor('operator') });
    await expect(client.listRunning({})).rejects.toMatchObject({ code: 'identity-not-allowed' });
    client.close();
    await server.stop();
    rmSync(directory, { recursive: true });
  });
});
