/**
 * A real S3 for tests: a Ceph RADOS gateway on one monitor and one in-memory OSD, from the Debian packages `ceph-mon`,
 * `ceph-osd` and `radosgw`. Everything is in a directory of its own; about 12 s to start.
 */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { guardDirectory } from './guardian';

const run = promisify(execFile);
const PROGRAMS = ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin', 'ceph-authtool', 'monmaptool', 'ceph'];
const START_DEADLINE_MS = 90_000;
const COMMAND_TIMEOUT_MS = 60_000;
/** Runs a program until the pipe from the test process closes, also when that one is killed; nothing here is worth a clean stop. */
const SERVE = `
"$@" </dev/null &
child=$!
read -r _
kill -KILL "$child" 2>/dev/null
wait "$child" 2>/dev/null
exit 0
`;

export interface TestS3 {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  stop(): Promise<void>;
}

/** Why there can be no S3 here; undefined when there can. */
export function s3Unavailable(): string | undefined {
  const missing = PROGRAMS.filter((name) => !existsSync(`/usr/bin/${name}`));
  return missing.length === 0 ? undefined : `${missing.join(', ')} not installed (Debian packages ceph-mon, ceph-osd, radosgw)`;
}

/** Starts a gateway with one user. */
export async function startS3(): Promise<TestS3> {
  const directory = await mkdtemp(join(tmpdir(), 'cs3-'));
  const removeDirectory = guardDirectory(directory);
  const children: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(children.map(ended));
    await removeDirectory();
  };
  try {
    for (const name of ['mon', 'osd', 'rgw', 'run', 'log']) await mkdir(join(directory, name));
    const [monPort, gatewayPort] = await freePorts(2);
    const monitor = `v2:127.0.0.1:${monPort}`;
    const fsid = randomUUID();
    await writeFile(join(directory, 'ceph.conf'), configuration({ directory, fsid, monitor, gatewayPort: gatewayPort! }));
    const ceph = (program: string, ...args: string[]): Promise<unknown> =>
      run(program, args, { cwd: directory, env: environment(directory), timeout: COMMAND_TIMEOUT_MS });
    const serve = (program: string, ...args: string[]): void => {
      const log = openSync(join(directory, 'log', `${program}.out`), 'a');
      children.push(spawn('/bin/sh', ['-c', SERVE, 'serve', program, ...args], { cwd: directory, env: environment(directory), stdio: ['pipe', log, log] }));
      closeSync(log);
    };

    const keyring = join(directory, 'keyring');
    await ceph('ceph-authtool', '--create-keyring', keyring, '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *');
    await ceph('ceph-authtool', keyring, '--gen-key', '-n', 'client.admin', '--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *', '--cap', 'mgr', 'allow *');
    await ceph('ceph-authtool', keyring, '--gen-key', '-n', 'osd.0', '--cap', 'mon', 'allow profile osd', '--cap', 'osd', 'allow *', '--cap', 'mgr', 'allow *');
    await ceph('monmaptool', '--create', '--fsid', fsid, '--addv', 'a', `[${monitor}]`, 'monmap');
    await ceph('ceph-mon', '--mkfs', '-i', 'a', '--monmap', 'monmap', '--keyring', keyring);
    serve('ceph-mon', '-i', 'a', '-f');
    await ceph('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', randomUUID());
    await ceph('ceph', 'osd', 'new', (await readFile(join(directory, 'osd', 'fsid'), 'utf8')).trim(), '0');
    serve('ceph-osd', '-i', '0', '-f');
    serve('radosgw', '-n', 'client.admin', `--keyring=${keyring}`, '-f');

    const endpoint = `http://127.0.0.1:${gatewayPort}`;
    await untilAnswers(endpoint, directory);
    const accessKeyId = 'coppice';
    const secretAccessKey = randomUUID();
    await ceph('radosgw-admin', `--keyring=${keyring}`, 'user', 'create', '--uid=test', '--display-name=test', `--access-key=${accessKeyId}`, `--secret-key=${secretAccessKey}`);
    return { endpoint, accessKeyId, secretAccessKey, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function environment(directory: string): NodeJS.ProcessEnv {
  return { ...process.env, CEPH_CONF: join(directory, 'ceph.conf') };
}

function configuration(of: { directory: string; fsid: string; monitor: string; gatewayPort: number }): string {
  const at = (name: string): string => join(of.directory, name);
  return `[global]
fsid = ${of.fsid}
mon_host = ${of.monitor}/0
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 2000
osd_objectstore = memstore
memstore_device_bytes = 4294967296
admin_socket = ${at('run')}/$name.asok
pid_file = ${at('run')}/$name.pid
log_file = ${at('log')}/$name.log
keyring = ${at('keyring')}
mon_data = ${at('mon')}
osd_data = ${at('osd')}
rgw_data = ${at('rgw')}
run_dir = ${at('run')}
crash_dir = ${at('run')}
[client.admin]
rgw_frontends = beast endpoint=127.0.0.1:${of.gatewayPort} tcp_nodelay=1
rgw_dns_name = localhost
`;
}

async function untilAnswers(endpoint: string, directory: string): Promise<void> {
  for (const deadline = performance.now() + START_DEADLINE_MS; performance.now() < deadline; await sleep(100)) {
    const answers = await fetch(endpoint, { signal: AbortSignal.timeout(2_000) }).then(
      () => true,
      () => false,
    );
    if (answers) return;
  }
  const log = await readFile(join(directory, 'log', 'radosgw.out'), 'utf8').catch(() => '');
  throw new Error(`the S3 gateway did not start; the end of its output:\n${log.slice(-2000)}`);
}

/** Ports that are free now. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
    ports.push((server.address() as AddressInfo).port);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.stdin?.end();
  await exited;
}
