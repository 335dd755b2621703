/** Channel binding as libpq does it, with certificates of every kind of signature, and with somebody in the middle. */
import { execFile } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { Auth, SCRAM, SCRAM_PLUS, writeAuthentication } from '@coppice/postgres';
import { ENDPOINT, type PooledProxy, startPooledProxy } from '../pool/pooled-proxy.fixture';
import { type Tls, tlsOf } from './certificate';
import { makePem, type Pem } from './pem.fixture';

const PSQL = '/usr/lib/postgresql/15/bin/psql';
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

const directory = mkdtempSync(join(tmpdir(), 'binding-'));
const load = ({ cert, key }: Pem): Tls => tlsOf({ cert: readFileSync(cert), key: readFileSync(key) });
let inForce: Tls;
let world: PooledProxy;

beforeAll(async () => {
  inForce = load(makePem(directory));
  world = await startPooledProxy(5, { tls: () => inForce });
});
afterAll(async () => {
  await world?.stop();
  rmSync(directory, { recursive: true });
});

/** The answer, or what psql says instead. */
const psql = async (binding: 'require' | 'prefer' | 'disable', port = world.port): Promise<string> => {
  const login = `host=127.0.0.1 port=${port} user=app password=one dbname=postgres sslmode=require`;
  const info = `${login} options=endpoint=${ENDPOINT} channel_binding=${binding}`;
  return promisify(execFile)(PSQL, [info, '-XAtc', "select 'in'"], { timeout: 20_000 }).then(
    ({ stdout }) => stdout.trim(),
    ({ stderr }: { stderr: string }) => stderr,
  );
};

describe('channel binding', () => {
  it.each([
    ['rsa', 'md5', 'sha256'],
    ['rsa', 'sha1', 'sha256'],
    ['rsa', 'sha224', 'sha224'],
    ['rsa', 'sha256', 'sha256'],
    ['rsa', 'sha384', 'sha384'],
    ['rsa', 'sha512', 'sha512'],
    ['rsa-pss', 'sha256', 'sha256'],
    ['rsa-pss', 'sha512', 'sha512'],
    ['ecdsa', 'sha1', 'sha256'],
    ['ecdsa', 'sha256', 'sha256'],
    ['ecdsa', 'sha384', 'sha384'],
    ['ecdsa', 'sha512', 'sha512'],
  ] as const)(
    'of a certificate signed by %s with %s is its %s, as libpq has it',
    async (key, hash, bound) => {
      const pem = makePem(directory, { key, hash });
      inForce = load(pem);
      const { raw } = new X509Certificate(readFileSync(pem.cert));
      expect(inForce.serverEndPoint).toEqual(createHash(bound).update(raw).digest());
      expect(await psql('require')).toBe('in');
    },
  );

  it('does not exist for Ed25519, is not offered then, and keeps nobody out who does not insist', async () => {
    inForce = load(makePem(directory, { key: 'ed25519' }));
    expect(inForce.serverEndPoint).toBeUndefined();
    expect(await psql('prefer')).toBe('in');
    expect(await psql('require')).toContain('channel binding is required');
  });
});

/** Ends TLS with a certificate of its own and passes everything on; `offer` is what it tells the client that the server offers. */
class InTheMiddle {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(target: number, offer: readonly string[]) {
    const own = load(makePem(directory));
    this.#server = createServer((client) => {
      const upstream = connect(target, '127.0.0.1');
      for (const socket of [client, upstream]) this.#sockets.add(socket.on('error', () => undefined));
      client.once('data', () => {
        client.write('S');
        const near = new TLSSocket(client, { isServer: true, secureContext: own.context });
        upstream.write(SSL_REQUEST);
        upstream.once('data', () => {
          const far = connectTls({ socket: upstream, rejectUnauthorized: false });
          for (const socket of [near, far]) socket.on('error', () => undefined);
          near.pipe(far);
          far.once('data', () => {
            const mechanisms = Buffer.from(offer.map((name) => `${name}\0`).join('') + '\0');
            near.write(writeAuthentication(Auth.sasl, mechanisms));
            far.pipe(near);
          });
        });
      });
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

describe('somebody in the middle with a certificate of their own', () => {
  const through = async (
    offer: readonly string[],
    binding: 'require' | 'prefer' | 'disable',
  ): Promise<string> => {
    inForce = load(makePem(directory));
    const middle = new InTheMiddle(world.port, offer);
    const answer = await psql(binding, await middle.listen());
    await middle.stop();
    return answer;
  };

  it.each(['require', 'prefer'] as const)(
    'is refused when they pass on what the server offers and the client would %s channel binding',
    async (binding) =>
      expect(await through([SCRAM_PLUS, SCRAM], binding)).toContain('SCRAM channel binding check failed'),
  );
  it('is refused by a client that requires channel binding when they hide that the server offers it', async () => {
    expect(await through([SCRAM], 'require')).toContain('channel binding is required');
  });
  it('is refused by the server when they hide it, since the client says that it could', async () => {
    expect(await through([SCRAM], 'prefer')).toContain('channel binding negotiation error');
  });
  it('gets through, as they must not be able to otherwise, when the client does without', async () => {
    expect(await through([SCRAM], 'disable')).toBe('in');
  });
});
