/** `coppice up`: checks the machine, starts every service, writes stack.json and keeps watch until it is told to stop. */
import { spawn } from 'node:child_process';
import { mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurable } from '@coppice/service-kit';
import { ensureCertificate } from './certificate';
import type { Reply, Request } from './control-socket';
import { askSupervisor, listenForCommands } from './control-socket';
import type { Layout } from './layout';
import { layoutOf } from './layout';
import { makePrivate, postgresBin, postgresUser, prepareDataDirectory, requireFreePort } from './machine';
import { metadataService } from './metadata-postgres';
import { Problem } from './problem';
import { loadSecrets } from './secrets';
import { nodeServices } from './services';
import { startInOrder, stopInOrder, Supervised } from './supervisor';

export interface UpOptions {
  readonly dataDir: string;
  readonly portBase: number;
  readonly detach: boolean;
}

/** How long the first start of all services may take; it imports the template. */
const START_MS = 120_000;

export async function up(options: UpOptions): Promise<void> {
  if (options.detach && !process.connected) return detach(options);
  const layout = layoutOf(options.dataDir, prepareDataDirectory);
  const progress = (line: string): void => {
    if (process.connected) process.send?.({ progress: line });
    else console.error(`  ${line}`);
  };
  const running = await askSupervisor(layout.control, { command: 'status' }, 5_000);
  if (running)
    throw new Problem(
      `a stack already runs on ${layout.directory} (pid ${running.pid}): see ./coppice status, end it with ./coppice down`,
    );
  const apiPort = options.portBase;
  const postgresPort = options.portBase + 32;
  await requireFreePort(apiPort, 'API');
  await requireFreePort(postgresPort, 'Postgres address');

  const bin = postgresBin();
  const user = postgresUser();
  makePrivate(layout.run, 0o711);
  makePrivate(layout.services);
  makePrivate(layout.computes, 0o711);
  mkdirSync(layout.logs, { recursive: true, mode: 0o700 });
  const secrets = await loadSecrets(layout.secretsFile);

  const onChange = (service: Supervised, note: string): void =>
    progress(`${service.spec.name.padEnd(14)} ${note}`);
  const metadata = new Supervised(await metadataService(layout, bin, user), onChange);
  const others = nodeServices({
    layout,
    secrets,
    bin,
    user,
    apiPort,
    postgresPort,
    tls: await ensureCertificate(layout.directory),
  }).map((spec) => new Supervised(spec, onChange));
  const services = [metadata, ...others];
  const reply = (): Reply => ({ pid: process.pid, services: services.map((s) => s.status) });

  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= stopInOrder(services));
  const server = await listenForCommands(layout.control, async (request: Request) => {
    if (request.command === 'stop') await stop();
    return reply();
  });
  const finish = async (): Promise<void> => {
    await stop();
    server.close();
    rmSync(layout.stackFile, { force: true });
  };
  const ended = new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
    const watch = setInterval(() => {
      if (!stopping) return;
      clearInterval(watch);
      void stopping.then(resolve);
    }, 100);
  });

  try {
    await Promise.race([
      startInOrder(services, START_MS),
      ended.then(() => Promise.reject(new Problem('stopped while starting'))),
    ]);
  } catch (error) {
    await finish();
    throw error instanceof Problem ? error : new Problem((error as Error).message);
  }
  const writeStack = (): Promise<void> =>
    writeDurable(
      layout.stackFile,
      `${JSON.stringify(stackOf(layout, secrets.operatorKey, apiPort, postgresPort, services), null, 2)}\n`,
    );
  await writeStack();
  for (const s of services) s.onReady = () => void writeStack();
  announce(layout, secrets.operatorKey, apiPort, postgresPort);
  await ended;
  progress('stopping');
  await finish();
  process.exit(0);
}

function stackOf(
  layout: Layout,
  apiKey: string,
  apiPort: number,
  postgresPort: number,
  services: readonly Supervised[],
): object {
  return {
    api: `http://127.0.0.1:${apiPort}/api/v2`,
    apiKey,
    postgres: { host: '127.0.0.1', port: postgresPort },
    runDirectory: layout.run,
    services: services.map(({ status }) => ({ name: status.name, pid: status.pid, log: status.log })),
  };
}

function announce(layout: Layout, apiKey: string, apiPort: number, postgresPort: number): void {
  const lines = [
    `  api       http://127.0.0.1:${apiPort}/api/v2`,
    `  key       ${apiKey}`,
    `  postgres  127.0.0.1:${postgresPort}`,
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
