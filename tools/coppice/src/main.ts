/** The one command of this repository: `./coppice up | down | status | check | test | bench`. */
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { check, type CheckOptions } from './check/check';
import { down } from './down';
import { Problem } from './problem';
import { status } from './status';
import { test } from './test/test';
import { up } from './up';

function port(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1024 || value > 65_000)
    throw new InvalidArgumentError('a port from 1024 to 65000 is wanted');
  return value;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 0 && value <= 600)) throw new InvalidArgumentError('seconds from 0 to 600 are wanted');
  return value;
}

const program = new Command('coppice').description('Postgres for agents that branch constantly');
/** A path as the user meant it: this process runs in the workspace, the command may have been given elsewhere. */
const path = (text: string): string => resolve(process.env['COPPICE_CALLER_DIRECTORY'] ?? '.', text);
const dataDir = ['--data-dir <dir>', 'where the stack keeps its data', path, path('./.coppice')] as const;

program
  .command('up')
  .description('start everything on this machine')
  .option(...dataDir)
  .option(
    '--port-base <port>',
    'API port; gRPC listens 1 above, Postgres 32, HTTP 33, metrics 40 to 48',
    port,
    7400,
  )
  .option('--detach', 'return once it is ready', false)
  .option(
    '--redis <url>',
    'counters of agents in this Redis; else in the control-plane, anew after each start',
  )
  .action(up);
program
  .command('down')
  .description('suspend computes and stop every service')
  .option(...dataDir)
  .action((options: { dataDir: string }) => down(options.dataDir));
program
  .command('status')
  .description('each service, its health and its computes')
  .option(...dataDir)
  .action((options: { dataDir: string }) => status(options.dataDir));
program
  .command('check')
  .description(
    'compare metadata, computes, safekeepers, pageserver, objects and counters; exit 1 if they differ',
  )
  .option(...dataDir)
  .option('--json', 'for scripts', false)
  .option('--patience <seconds>', 'how long something may look wrong that is only on its way', seconds, 10)
  .action((options: CheckOptions) => check(options));
program
  .command('test')
  .description('every test; installs what it needs')
  .option('--full', 'the longer nightly form', false)
  .option(
    '--pg-src <dir>',
    'PostgreSQL source tree: runs its regression SQL through the page oracle (with --full)',
    path,
  )
  .argument('[pattern...]', 'only test files whose path matches')
  .action((pattern: string[], options: { full: boolean; pgSrc?: string }) => test(pattern, options));
program
  .command('bench')
  .description(
    'measures beside their baselines: fork, project, density, cold-start, wake-storm, commit, read-warm, proxy, http',
  )
  .argument('[name...]', 'which; all unless named')
  .action(async (names: string[]) => (await import('./bench/bench')).bench(names));

program.parseAsync().catch((error: unknown) => {
  const text = error instanceof Problem ? error.message : ((error as Error).stack ?? String(error));
  if (process.connected) process.send?.({ problem: text });
  console.error(`coppice: ${text}`);
  process.exit(1);
});
