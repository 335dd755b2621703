/** Debian's pgbouncer before one server, as the baseline of the proxy: plain TCP in, the server's Unix socket out, session pooling. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ADMIN, type ComputeSocket } from '@coppice/testing';
import { Problem } from '../problem';

const PROGRAM = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find((path) => existsSync(path));
const START_MS = 10_000;

export class Pgbouncer {
  readonly uri: string;
  readonly #directory: string;
  readonly #process: ChildProcess;

  private constructor(directory: string, child: ChildProcess, uri: string) {
    this.#directory = directory;
    this.#process = child;
    this.uri = uri;
  }

  static async start({ socketDirectory, port }: ComputeSocket, database: string): Promise<Pgbouncer> {
    if (!PROGRAM)
      throw new Problem('the proxy bench needs pgbouncer: ./coppice test gets it, as root on Debian');
    const directory = mkdtempSync(join(tmpdir(), 'coppice-pgbouncer-'));
    const listenPort = await freePort();
    const settings = {
      listen_addr: '127.0.0.1',
      listen_port: listenPort,
      unix_socket_dir: '',
      auth_type: 'any',
      pool_mode: 'session',
      max_client_conn: 200,
      default_pool_size: 100,
      logfile: join(directory, 'log'),
    };
    const config = join(directory, 'pgbouncer.ini');
    writeFileSync(
      config,
      [
        '[databases]',
        `${database} = host=${socketDirectory} port=${port} user=${ADMIN}`,
        '[pgbouncer]',
        ...Object.entries(settings).map(([name, value]) => `${name} = ${value}`),
        '',
      ].join('\n'),
    );
    // It refuses root, and only the compute's own user may enter the socket's directory.
    const { uid, gid } = statSync(socketDirectory);
    const user = process.getuid?.() === 0 ? { uid, gid } : {};
    if ('uid' in user) for (const path of [directory, config]) chownSync(path, uid, gid);
    const child = spawn(PROGRAM, ['-q', config], { ...user, cwd: '/', stdio: 'ignore' });
    const bouncer = new Pgbouncer(
      directory,
      child,
      `postgresql://${ADMIN}@127.0.0.1:${listenPort}/${database}?sslmode=disable`,
    );
    for (let waited = 0; !(await accepts(listenPort)); waited += 50) {
      if (child.exitCode !== null || waited > START_MS) {
        const log = existsSync(settings.logfile) ? readFileSync(settings.logfile, 'utf8') : '';
        await bouncer.stop();
        throw new Problem(`pgbouncer did not start: ${log.slice(-1000)}`);
      }
      await sleep(50);
    }
    return bouncer;
  }

  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#process.once('exit', () => resolve()));
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill('SIGKILL');
      await ended;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
