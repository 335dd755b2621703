/**
 * Named points at which a test can make the process die or fail: `COPPICE_FAILPOINTS=flush-before-manifest=kill`.
 * Actions: `kill` (SIGKILL to itself), `error` (throws). Without the variable a failpoint costs one map lookup.
 */
const active = new Map(
  (process.env['COPPICE_FAILPOINTS'] ?? '')
    .split(',')
    .filter((part) => part.includes('='))
    .map((part) => part.split('=') as [string, string]),
);

export function failpoint(name: string): void {
  const action = active.get(name);
  if (action === undefined) return;
  if (action === 'kill') process.kill(process.pid, 'SIGKILL');
  throw new Error(`failpoint ${name}: ${action}`);
}

/** Arms a failpoint from a test in the same process; the returned function disarms it. */
export function armFailpoint(name: string, action: 'kill' | 'error'): () => void {
  active.set(name, action);
  return () => active.delete(name);
}
