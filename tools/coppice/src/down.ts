import { askSupervisor } from './control-socket';
import { layoutOf } from './layout';
import { Problem } from './problem';

/** Above what the slowest orderly stop may take: each group of services has its own time. */
const DOWN_MS = 330_000;

/** `coppice down`: suspends computes and stops every service in order; returns when all have ended. */
export async function down(dataDir: string): Promise<void> {
  const layout = layoutOf(dataDir, () => undefined);
  const reply = await askSupervisor(layout.control, { command: 'stop' }, DOWN_MS);
  if (!reply) throw new Problem(`no stack runs on ${layout.directory}`);
  console.log('stopped');
}
