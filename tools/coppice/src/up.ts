/** `coppice up`: checks the machine, starts every service, writes stack.json and keeps watch until it is told to stop. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureCertificate } from './certificate';
import type { Reply, Request } from './control-socket';
import { askSupervisor, listenForCommands } from './control-socket';
import { tryLock } from './hold-lock';
import type { Layout } from './layout';
import { layoutOf } from './layout';
import { makePrivate, makeRunDirectory, postgresBin, postgresUser, prepareDataDirectory } from './machine';
import { metadataService } from './metadata-postgres';
import { type Ports, portsFrom, requireFreePorts } from './ports';
import { Problem } from './problem';
import { loadSecrets, metricsToken, type Secrets } from './secrets';
import { nodeServices } from './services';
import { StackFile } from './stack-file';
import type { ServiceSpec } from './supervisor';
import { startInOrder, stopInOrder, Supervised } from './supervisor';

export interface UpOptions {
  readonly dataDir: string;
  readonly portBase: number;
  readonly detach: boolean;
  /** Of a Redis for the counters of agents. */
  readonly redis?: string;
}

/** How long the first start of all services may take; it imports the template. */
const START_MS = 120_000;
/** How long services that lost their supervisor may take to end. */
const LEFT_OVER_MS = 45_000;
/** Says what `--redis` says. */
const REDIS_URL = 'COPPICE_REDIS_URL';

export async function up(options: UpOptions): Promise<void> {
  if (options.detach && !process.connected) return detach(options);
  const layout = layoutOf(options.dataDir, prepareDataDirectory);
  const progress = (line: string): void => {
    if (process.connected) process.send?.({ progress: line });
    else console.error(`  ${line}`);
  };
  const lock = await lockStack(layout, progress);
  const ports = portsFrom(options.portBase);
  await requireFreePorts(ports);

  const bin = postgresBin();
  const user = postgresUser();
  makeRunDirectory(layout.run, user);
  // Cleaners of temporary directories leave alone what is locked.
  tryLock(openSync(layout.run, 'r'));
  makePrivate(layout.services);
  makePrivate(layout.computes, 0o711);
  makePrivate(layout.logs);
  const secrets = await loadSecrets(layout.secretsFile, !existsSync(layout.metadata));

  const supervise = (spec: ServiceSpec): Supervised =>
    new Supervised(spec, {
      heldOpen: lock,
      onChange: (service, note) => progress(`${service.spec.name.padEnd(14)} ${note}`),
    });
  const metadata = await metadataService(layout, bin, user);
  const tls = await ensureCertificate(layout.directory);
  // For the control-plane alone: it may hold a password.
  const redisUrl = options.redis ?? process.env[REDIS_URL] ?? '';
  delete process.env[REDIS_URL];
  const others = nodeServices({
    layout,
    secrets,
    bin,
    user,
    ports,
    tls,
    redisUrl,
  });
  const services = [metadata, ...others].map(supervise);
  const reply = (): Reply => ({ pid: process.pid, services: services.map((s) => s.status) });

  let stopping: Promise<void> | undefined;
  let stopAsked!: () => void;
  const ended = new Promise<void>((resolve) => (stopAsked = resolve));
  const stop = (): Promise<void> => (stopping ??= stopInOrder(services));
  const server = await listenForCommands(layout.control, async (request: Request) => {
    if (request.command !== 'stop') return reply();
    await stop();
    setImmediate(stopAsked);
    return reply();
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stopAsked);
  const stackFile = new StackFile(layout.stackFile, () => stackOf(layout, secrets, ports, services));
  const finish = async (): Promise<void> => {
    await stop();
    server.close();
    await stackFile.remove();
  };

  try {
    await Promise.race([
      startInOrder(services, START_MS),
      ended.then(() => Promise.reject(new Problem('stopped while starting'))),
    ]);
    await stackFile.write();
  } catch (error) {
    await finish();
    throw error instanceof Problem ? error : new Problem((error as Error).message);
  }
  for (const s of services)
    s.onReady = () =>
      void stackFile
        .write()
        .catch((error: Error) => progress(`${layout.stackFile} cannot be written: ${error.message}`));
  announce(layout, secrets.operatorKey, ports);
  await ended;
  progress('stopping');
  await finish();
  process.exit(0);
}

/**
 * Claims the data directory for this stack; the file that is returned stays open as long as the process lives. What a
 * supervisor that was killed left behind ends on its own, and is waited for.
 */
async function lockStack(layout: Layout, progress: (line: string) => void): Promise<number> {
  const lock = openSync(layout.lockFile, 'a', 0o600);
  const until = Date.now() + LEFT_OVER_MS;
  for (let round = 0; !tryLock(lock); round += 1) {
    const running = await askSupervisor(layout.control, { command: 'status' }, 5_000);
    if (running)
      throw new Problem(
        `a stack already runs on ${layout.directory} (pid ${running.pid}): see ./coppice status, end it with ./coppice down`,
      );
    if (Date.now() > until)
      throw new Problem(
        `${layout.directory} is in use by processes that do not end: fuser ${layout.lockFile} shows them`,
      );
    if (round === 0) progress('waiting for processes that use the data directory to end');
    await sleep(200);
  }
  return lock;
}

function stackOf(layout: Layout, secrets: Secrets, ports: Ports, services: readonly Supervised[]): object {
  return {
    api: `http://127.0.0.1:${ports.api}/api/v2`,
    grpc: `127.0.0.1:${ports.grpc}`,
    apiKey: secrets.operatorKey,
    metricsToken: metricsToken(secrets),
    postgres: { host: '127.0.0.1', port: ports.postgres },
    http: { host: '127.0.0.1', port: ports.http },
    runDirectory: layout.run,
    services: services.map(({ status: { name, pid, log, metrics } }) => ({ name, pid, log, metrics })),
  };
}

function announce(layout: Layout, apiKey: string, ports: Ports): void {
  const lines = [
    `  api       http://127.0.0.1:${ports.api}/api/v2`,
    `  grpc      127.0.0.1:${ports.grpc}`,
    `  key       ${apiKey}`,
    `  postgres  127.0.0.1:${ports.postgres}`,
    `  sql       http://127.0.0.1:${ports.http}/sql, ws://127.0.0.1:${ports.http}/v2`,
    `  stack     ${layout.stackFile}`,
  ];
  if (process.connected) process.send?.({ ready: lines });
  else console.log(`${lines.join('\n')}\n\nready; Ctrl-C or ./coppice down stops it`);
}

/** Starts the supervisor as a process of its own and returns once the stack is ready. */
async function detach(options: UpOptions): Promise<void> {
  const layout = layoutOf(options.dataDir, prepareDataDirectory);
  mkdirSync(layout.logs, { recursive: true, mode: 0o700 });
  const output = openSync(join(layout.logs, 'supervisor.log'), 'a', 0o600);
  const args = ['up', '--data-dir', layout.directory, '--port-base', String(options.portBase), '--detach'];
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...args], {
    detached: true,
    stdio: ['ignore', output, output, 'ipc'],
    // Not as an argument, which everybody can read.
    env: { ...process.env, ...(options.redis === undefined ? {} : { [REDIS_URL]: options.redis }) },
  });
  await new Promise<void>((resolve, reject) => {
    child.on('message', (message: { progress?: string; ready?: string[]; problem?: string }) => {
      if (message.progress) console.error(`  ${message.progress}`);
      if (message.problem) reject(new Problem(message.problem));
      if (message.ready) {
        console.log(message.ready.join('\n'));
        resolve();
      }
    });
    child.once('exit', (code) =>
      reject(
        new Problem(`the supervisor ended with ${code}; its log: ${join(layout.logs, 'supervisor.log')}`),
      ),
    );
  });
  child.disconnect();
  child.unref();
}
