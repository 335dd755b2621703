/** Mutual TLS between real servers and clients, with certificates of an authority of the test's own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { generate } from 'selfsigned';
import { CoppiceError, type Part, silentLog } from '@coppice/service-kit';
import { controlInternalContract } from '../control-internal';
import { controlContract } from '../control';
import { connect, connectPublic } from './client';
import { CLIENT_ADDRESS_HEADER } from './security';
import { type CallContext, grpcServer, serve } from './server';
import { securityFor } from './test-security.fixture';
import { readTls, serverCredentials, type TlsMaterial } from './transport';

interface Authority {
  readonly key: string;
  readonly cert: string;
}

async function authority(): Promise<Authority> {
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'fleet' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'keyUsage', keyCertSign: true },
    ],
  });
  return { key, cert };
}

/** A certificate for `127.0.0.1`, or for another name, by the authority. */
async function material(ca: Authority, name?: string): Promise<TlsMaterial> {
  const made = await generate([{ name: 'commonName', value: 'service' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    ca,
    extensions: [
      { name: 'subjectAltName', altNames: [name ? { type: 2, value: name } : { type: 7, ip: '127.0.0.1' }] },
    ],
  });
  return { ca: Buffer.from(ca.cert), certificate: Buffer.from(made.cert), key: Buffer.from(made.private) };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('a TCP address with an authority', () => {
  let ours: Authority;
  let good: TlsMaterial;
  let address: string;
  let server: Part;

  const serveWith = (tls: TlsMaterial | undefined, at: string): Part =>
    grpcServer({
      address: at,
      log: silentLog(),
      security: securityFor('control-plane', tls),
      services: [serve(controlInternalContract, { listRunning: async () => ({ computes: [] }) } as never)],
    });
  const call = async (
    tls: TlsMaterial | undefined,
    at = address,
    service: 'operator' | 'reaper' = 'operator',
  ): Promise<unknown> => {
    const client = connect(controlInternalContract, { address: at, security: securityFor(service, tls) });
    try {
      return await client.listRunning({}, { deadlineMs: 3_000 });
    } finally {
      client.close();
    }
  };

  beforeAll(async () => {
    ours = await authority();
    good = await material(ours);
    address = `127.0.0.1:${await freePort()}`;
    server = serveWith(good, address);
    await server.start();
  });
  afterAll(() => server.stop());

  it('serves a client with a certificate of that authority, which still needs its identity', async () => {
    expect(await call(await material(ours))).toEqual({ computes: [] });
    await expect(call(good, address, 'reaper')).rejects.toMatchObject({ code: 'identity-not-allowed' });
  });

  it('serves nobody with a certificate of another authority', async () => {
    const stranger = { ...(await material(await authority())), ca: good.ca };
    await expect(call(stranger)).rejects.toMatchObject({ kind: 'Unavailable' });
  });

  it('serves nobody without a certificate, nor without TLS', async () => {
    const [host, port] = address.split(':') as [string, string];
    const ended = new Promise<string>((resolve) => {
      const socket = connectTls({ host, port: Number(port), ca: ours.cert, ALPNProtocols: ['h2'] });
      socket.on('data', () => resolve('answered'));
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.once('close', () => resolve('closed'));
    });
    expect(await ended).toBe('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED');
    await expect(call(undefined)).rejects.toMatchObject({ kind: 'Unavailable' });
  });

  it('is called only where it shows a certificate of the authority, for its host', async () => {
    for (const tls of [await material(await authority()), await material(ours, 'elsewhere.example')]) {
      const at = `127.0.0.1:${await freePort()}`;
      const other = serveWith({ ...tls, ca: good.ca }, at);
      await other.start();
      await expect(call(good, at)).rejects.toMatchObject({ kind: 'Unavailable' });
      await other.stop();
    }
  });
});

describe('a TCP address without an authority', () => {
  it('is served and called on the loopback interface only', async () => {
    for (const host of ['0.0.0.0', '10.1.2.3', '[::]', 'sk1.example', '127.0.0.1.example', '']) {
      expect(() => serverCredentials(`${host}:7400`, undefined)).toThrow(
        expect.objectContaining({
          code: 'tls-required',
          message: `listening on ${host}:7400 needs TLS, and none is set up`,
        }),
      );
      expect(() =>
        connect(controlInternalContract, { address: `${host}:7400`, security: securityFor('operator') }),
      ).toThrow(expect.objectContaining({ code: 'tls-required' }));
    }
    for (const host of ['127.0.0.1', 'localhost', '[::1]'])
      expect(() => serverCredentials(`${host}:7400`, undefined)).not.toThrow();
  });
});

describe('settings of TLS', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tls-'));
  const file = join(directory, 'pem');
  beforeAll(() => writeFileSync(file, 'pem'));
  afterAll(() => rmSync(directory, { recursive: true }));

  it('are all there or none, and name files that can be read', () => {
    const all = { tlsCa: file, tlsCertificate: file, tlsKey: file };
    expect(readTls(all)?.ca.toString()).toBe('pem');
    expect(readTls({ tlsCa: '', tlsCertificate: '', tlsKey: '' })).toBeUndefined();
    expect(() => readTls({ ...all, tlsKey: '' })).toThrow('belong together');
    expect(() => readTls({ ...all, tlsKey: join(directory, 'none') })).toThrow(
      'none cannot be read (ENOENT)',
    );
  });
});

describe('a public address', () => {
  const served = serve(controlContract, {
    whoAmI: async (_: unknown, context: CallContext) => ({
      name: context.header(CLIENT_ADDRESS_HEADER) ?? '',
    }),
  } as never);
  const publicServer = (address: string, tls: TlsMaterial | undefined): Part =>
    grpcServer({
      address,
      log: silentLog(),
      security: securityFor('control-plane', tls),
      services: [served],
      anyone: true,
    });

  it('serves over TLS without a certificate of the client, and does not believe where it says it is', async () => {
    const tls = await material(await authority());
    const address = `127.0.0.1:${await freePort()}`;
    const server = publicServer(address, tls);
    await server.start();
    const client = connectPublic(controlContract, { address, security: { tls: { ca: tls.ca } } });
    const headers = { [CLIENT_ADDRESS_HEADER]: '203.0.113.7' };
    expect((await client.whoAmI({}, { headers })).name).toBe('127.0.0.1');
    client.close();
    await server.stop();
  });

  it('tells nobody what went wrong inside', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'public-'));
    const address = `unix:${join(directory, 's')}`;
    const failures = [
      new Error('column "x" of /srv/secret does not exist'),
      new CoppiceError('Unavailable', 'peer-unavailable', 'GetPages: connect ENOENT /srv/secret'),
    ];
    const failing = serve(controlContract, {
      whoAmI: async () => {
        throw failures.shift();
      },
    } as never);
    const server = grpcServer({
      address,
      log: silentLog(),
      security: securityFor('control-plane', undefined),
      services: [failing],
      anyone: true,
    });
    await server.start();
    const client = connectPublic(controlContract, { address, security: { tls: undefined } });
    for (const code of ['internal', 'peer-unavailable']) {
      const error: unknown = await client.whoAmI({}).catch((e: unknown) => e);
      expect(error).toMatchObject({ code });
      expect((error as Error).message).not.toContain('secret');
    }
    client.close();
    await server.stop();
    rmSync(directory, { recursive: true });
  });

  it('serves no contract that is for services', () => {
    expect(() =>
      grpcServer({
        address: 'unix:/nowhere',
        log: silentLog(),
        security: securityFor('control-plane', undefined),
        services: [serve(controlInternalContract, {} as never)],
        anyone: true,
      }),
    ).toThrow('is for services only');
  });
});
