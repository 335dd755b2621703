import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CoppiceError, silentLog, systemClock } from '@coppice/service-kit';
import { cleanComputesDirectory } from './leftovers';

describe('an agent that starts where another was killed', () => {
  const top = mkdtempSync(join(tmpdir(), 'cpl-'));
  const computes = join(top, 'c');
  beforeAll(() => chmodSync(top, 0o711));
  afterAll(() => rmSync(top, { recursive: true, force: true }));

  it('ends the processes that work in its computes’ directories and removes these, and nothing else', async () => {
    const it = cleanComputesDirectory(computes, process.getuid?.() === 0);
    const data = join(computes, '0123456789ab', 'data');
    const other = join(computes, 'pg17-0-1');
    for (const directory of [data, other, join(computes, 'spare-0123456789ab')]) mkdirSync(directory, { recursive: true });
    const orphan = spawn('sleep', ['60'], { cwd: data });
    const bystander = spawn('sleep', ['60'], { cwd: other });
    const ended = new Promise((resolve) => orphan.once('exit', (_, signal) => resolve(signal)));
    await it.endLeftovers(systemClock, silentLog());
    expect(await ended).toBe('SIGKILL');
    expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
    expect([existsSync(join(computes, '0123456789ab')), existsSync(join(computes, 'spare-0123456789ab')), existsSync(other)]).toEqual([false, false, true]);
    bystander.kill('SIGKILL');
  });

  it('refuses a directory whose sockets could not be named, or that others cannot enter', () => {
    expect(() => cleanComputesDirectory(join(top, 'x'.repeat(90)), false)).toThrow(/longer than 68 bytes/);
    const closed = join(top, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    expect(() => cleanComputesDirectory(join(closed, 'c'), true)).toThrow(CoppiceError);
  });
});
