/**
 * Cleans up after a test process that dies, however it dies (a failed test, an exit, `kill -9`): a small shell waits at
 * the end of a pipe that only the test process holds open. When the pipe closes it stops the server that stands in
 * `postmaster.pid`, if any, and removes the directory. Exit hooks would not do: jest replaces `process` in tests.
 */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';

const SCRIPT = `
trap '' INT TERM HUP
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then kill -QUIT "$pid" 2>/dev/null && sleep 0.3; kill -KILL "$pid" 2>/dev/null; fi
rm -rf "$1"
`;

/** Guards `directory` until it is removed; the server's data are in its `data` folder. Returns how to end the guard, which removes it. */
export function guardDirectory(directory: string): () => Promise<void> {
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'guardian', directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  const gone = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => resolve());
  });
  gone.catch(() => undefined);
  child.unref();
  (child.stdin as Socket).unref();
  return () => {
    child.ref();
    child.stdin.end();
    return gone;
  };
}
