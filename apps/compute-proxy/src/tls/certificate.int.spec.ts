/** A certificate that changes under a running proxy. */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { X509Certificate } from 'node:crypto';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type Log, type Part, silentLog, systemClock } from '@coppice/service-kit';
import { PASSWORD, ENDPOINT, TestProxy } from '../proxy.fixture';
import { Client } from 'pg';
import { Certificate } from './certificate';
import { makePem, type Pem } from './pem.fixture';

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

describe('a certificate in files', () => {
  const directory = mkdtempSync(join(tmpdir(), 'certificate-'));
  const live: Pem = { cert: join(directory, 'live', 'tls.crt'), key: join(directory, 'live', 'tls.key') };
  const warnings: string[] = [];
  const log = silentLog();
  log.warn = ((fields: { err: Error }, line: string) =>
    void warnings.push(`${line}: ${fields.err.message}`)) as Log['warn'];
  const put = ({ cert, key }: Pem): void => {
    copyFileSync(cert, live.cert);
    copyFileSync(key, live.key);
  };
  const numberOf = ({ cert }: Pem): string => new X509Certificate(readFileSync(cert)).serialNumber;
  let [first, second, third]: Pem[] = [];
  let proxy: TestProxy;
  let watching: Part;

  beforeAll(async () => {
    [first, second, third] = [makePem(directory), makePem(directory, { key: 'rsa' }), makePem(directory)];
    mkdirSync(join(directory, 'live'));
    put(first!);
    const certificate = new Certificate(live.cert, live.key, log);
    watching = certificate.part();
    await watching.start();
    proxy = await TestProxy.start({ tls: () => certificate.current });
  });
  afterAll(async () => {
    await proxy?.stop();
    await watching?.stop();
    rmSync(directory, { recursive: true });
  });

  const handshake = async (): Promise<TLSSocket> => {
    const plain = connect(proxy.port, '127.0.0.1');
    plain.write(SSL_REQUEST);
    await new Promise((resolve) => plain.once('data', resolve));
    const secure = connectTls({ socket: plain, rejectUnauthorized: false });
    await new Promise((resolve, reject) => secure.once('secureConnect', resolve).once('error', reject));
    return secure;
  };
  /** The serial number of the certificate that a new connection gets. */
  const shown = async (): Promise<string> => {
    const secure = await handshake();
    const { serialNumber } = secure.getPeerCertificate();
    secure.on('error', () => undefined).destroy();
    return serialNumber;
  };
  const until = async (wanted: () => boolean | Promise<boolean>): Promise<void> => {
    for (const from = systemClock.monotonic(); !(await wanted()); await systemClock.sleep(20))
      if (systemClock.monotonic() - from > 10_000) throw new Error('it does not come about');
  };
  const session = async (): Promise<Client> => {
    const client = new Client({
      ...{ host: '127.0.0.1', port: proxy.port, user: 'app', password: PASSWORD, database: 'db' },
      options: `endpoint=${ENDPOINT}`,
      ssl: { rejectUnauthorized: false },
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };

  it('that is replaced is shown to new connections, and sessions go on', async () => {
    expect(await shown()).toBe(numberOf(first!));
    const client = await session();
    const { stream } = (client as unknown as { connection: { stream: TLSSocket } }).connection;
    const echoed = new Promise<Buffer>((resolve) => stream.once('data', resolve));
    put(second!);
    await until(async () => (await shown()) === numberOf(second!));
    expect(stream.getPeerCertificate().serialNumber).toBe(numberOf(first!));
    stream.write('N');
    expect(await echoed).toHaveLength(1);
    expect(warnings).toEqual([]);
    await client.end();
  });

  it.each([
    ['is no certificate', () => writeFileSync(live.cert, 'garbage')],
    ['does not fit its key', () => copyFileSync(makePem(directory, { key: 'rsa' }).cert, live.cert)],
    ['is of another kind than its key', () => copyFileSync(third!.cert, live.cert)],
    ['is gone', () => rmSync(live.cert)],
  ])('that %s leaves the old one in force, which is logged', async (_, change) => {
    put(second!);
    await systemClock.sleep(300);
    warnings.length = 0;
    change();
    await until(() => warnings.length > 0);
    expect(warnings).toEqual([
      expect.stringMatching(/^new certificate cannot be used, keeps the old one: cannot use the certificate/),
    ]);
    expect(await shown()).toBe(numberOf(second!));
    await (await session()).end();
  });

  it('may be a link into a directory that is replaced as a whole, as Kubernetes does it', async () => {
    const mount = join(directory, 'mount');
    const versions = { one: join(directory, 'one'), two: join(directory, 'two') };
    for (const [path, pem] of [
      [versions.one, first!],
      [versions.two, third!],
    ] as const) {
      mkdirSync(path);
      copyFileSync(pem.cert, join(path, 'tls.crt'));
      copyFileSync(pem.key, join(path, 'tls.key'));
    }
    mkdirSync(mount);
    symlinkSync(versions.one, join(mount, '..data'));
    for (const file of ['tls.crt', 'tls.key']) symlinkSync(join('..data', file), join(mount, file));
    const linked = new Certificate(join(mount, 'tls.crt'), join(mount, 'tls.key'), log);
    const part = linked.part();
    await part.start();
    const before = linked.current;
    symlinkSync(versions.two, join(mount, '..data_tmp'));
    renameSync(join(mount, '..data_tmp'), join(mount, '..data'));
    await until(() => linked.current !== before);
    await part.stop();
  });
});
