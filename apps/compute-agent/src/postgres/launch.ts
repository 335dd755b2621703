import { spawn } from 'node:child_process';
import type { ServerUser } from '../prepare/write-layout';

export interface LaunchRequest {
  readonly command: readonly [executable: string, ...args: string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly user: ServerUser | undefined;
}

/** A server process in a session of its own. */
export interface LaunchedServer {
  readonly pid: number | undefined;
  /** Resolves when it is gone, with how it went: `exit 0`, `signal SIGQUIT`. */
  readonly exited: Promise<string>;
  onOutput(listener: (chunk: Buffer) => void): void;
  kill(signal: NodeJS.Signals): void;
}

export type Launch = (request: LaunchRequest) => Promise<LaunchedServer>;

/** As a child of this very process. */
export const launchChild: Launch = async ({ command: [executable, ...args], env, user }) => {
  const child = spawn(executable, args, {
    cwd: '/',
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    ...(user ?? {}),
  });
  const streams = [child.stdout, child.stderr];
  for (const stream of streams) stream.on('error', () => undefined);
  return {
    pid: child.pid,
    exited: new Promise((resolve) => {
      child.once('error', (error) => resolve(`could not start: ${error.message}`));
      child.once('exit', (code, signal) => resolve(signal ? `signal ${signal}` : `exit ${code}`));
    }),
    onOutput: (listener) => streams.forEach((stream) => stream.on('data', listener)),
    kill: (signal) => void child.kill(signal),
  };
};
