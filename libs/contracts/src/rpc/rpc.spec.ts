import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Part } from '@coppice/service-kit';
import { CoppiceError, silentLog } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { keyOf, keyPrefix, lsn } from '@coppice/vocabulary';
import { pageserverContract, safekeeperContract } from '../index';
import type { Client } from './client';
import { connect } from './client';
import type { Handlers } from './server';
import { grpcServer, serve } from './server';
import { securityFor, tokenFor } from './test-security.fixture';

const timelineId = 'ab'.repeat(16) as TimelineId;
const status = {
  ingestedLsn: lsn(5n),
  durableLsn: lsn(4n),
  logicalSizeBytes: 7,
  writtenWalBytes: 8,
  layers: 1,
  ownBytes: 0,
  logicalSizeIsEstimate: false,
};
/** What the tests call of it. */
type Served = Handlers<typeof pageserverContract.methods>;
const key = keyOf(keyPrefix(5, 1663, 5, 1259, 0), 3);

describe('a contract served and called', () => {
  const directory = mkdtempSync(join(tmpdir(), 'rpc-'));
  const address = `unix:${join(directory, 's')}`;
  let server: Part;
  let client: Client<typeof pageserverContract.methods>;
  let compute: Client<typeof pageserverContract.methods>;

  beforeAll(async () => {
    const pageserver = serve(pageserverContract, {
      getPages: async (stream) => {
        stream.onMessage((request) =>
          stream.send({
            id: request.id,
            pages: request.keys.map(() => Buffer.alloc(8192, 7)),
            failure: undefined,
          }),
        );
        await stream.closed;
      },
      getComputeImage: async function* ({ lsn: at }) {
        yield { kind: 'origin', value: { originId: 1, remoteLsn: at } };
        yield { kind: 'file', value: { path: 'a', content: Buffer.from('b') } };
      },
      getRelations: async function* () {
        yield* [];
      },
      lsnAtTime: async () => {
        throw new CoppiceError('NotFound', 'before-history', 'nothing was committed by then', {
          remedy: 'Ask for 16/B or later – née.',
        });
      },
      getTimelineStatus: async (_request, { identity }) => ({
        ...status,
        layers: identity?.service.length ?? 0,
      }),
      waitForLsn: (_request, { signal }) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
        ),
      importTimeline: async (parts) => {
        let total = 0n;
        for await (const p of parts) if (p.kind === 'chunk') total += BigInt(p.value.content.length);
        return { lsn: lsn(total), systemIdentifier: total };
      },
    } as Partial<Served> as Served);
    server = grpcServer({
      address,
      services: [pageserver],
      log: silentLog(),
      security: securityFor('pageserver'),
    });
    await server.start();
    client = connect(pageserverContract, { address, security: securityFor('control-plane') });
    compute = client.as(tokenFor('compute', { timeline: timelineId }));
  });
  afterAll(async () => {
    client.close();
    await server.stop();
    rmSync(directory, { recursive: true });
  });

  it('answers a unary call and sees who calls', async () => {
    expect(await client.getTimelineStatus({ timelineId })).toMatchObject({
      ingestedLsn: status.ingestedLsn,
      layers: 'control-plane'.length,
    });
  });
  it('carries kind, code and remedy of an error', async () => {
    await expect(client.lsnAtTime({ timelineId, unixMicros: -1n })).rejects.toMatchObject({
      kind: 'NotFound',
      code: 'before-history',
      remedy: 'Ask for 16/B or later – née.',
    });
  });
  it('streams parts of a union', async () => {
    const parts = [];
    for await (const p of compute.getComputeImage({
      timelineId,
      lsn: lsn(1n << 60n),
      wanted: [],
      allRelations: true,
    }))
      parts.push(p);
    expect(parts).toEqual([
      { kind: 'origin', value: { originId: 1, remoteLsn: 1n << 60n } },
      { kind: 'file', value: { path: 'a', content: Buffer.from('b') } },
    ]);
  });
  it('streams both ways and ends in good order', async () => {
    const stream = compute.getPages();
    const got = new Promise((resolve) => stream.onMessage(resolve));
    stream.send({ id: 9, timelineId, lsn: lsn(1n), keys: [key, key] });
    expect(await got).toMatchObject({ id: 9, pages: [Buffer.alloc(8192, 7), Buffer.alloc(8192, 7)] });
    stream.end();
    await stream.closed;
  });
  it('sums a client stream', async () => {
    const chunk = (content: string) =>
      ({ kind: 'chunk', value: { path: 'p', content: Buffer.from(content) } }) as const;
    expect(
      await compute.importTimeline([{ kind: 'header', value: { timelineId } }, chunk('ab'), chunk('c')]),
    ).toMatchObject({ lsn: 3n });
  });
  it('ends a call at its deadline and by its signal', async () => {
    await expect(client.waitForLsn({ timelineId, lsn: lsn(1n) }, { deadlineMs: 30 })).rejects.toMatchObject({
      code: 'deadline-exceeded',
    });
    const abort = new AbortController();
    const call = client.waitForLsn({ timelineId, lsn: lsn(1n) }, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(call).rejects.toThrow('enough');
  });
  it('says that the peer is away', async () => {
    const nobody = connect(safekeeperContract, {
      address: `unix:${join(directory, 'none')}`,
      security: securityFor('control-plane'),
    });
    await expect(nobody.getTimelineStatus({ timelineId }, { deadlineMs: 500 })).rejects.toMatchObject({
      kind: 'Unavailable',
    });
    nobody.close();
  });
});
