import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLock } from './hold-lock';
import { loadSecrets } from './secrets';
import { StackFile } from './stack-file';
import { type ServiceSpec, Supervised } from './supervisor';

describe('on one machine', () => {
  const directory = mkdtempSync(join(tmpdir(), 'coppice-supervisor-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const spec = (command: string, ...args: string[]): ServiceSpec => ({
    name: 'service',
    command,
    args,
    env: {},
    log: join(directory, 'service.log'),
    readiness: 'ipc',
    startOrder: 0,
    stopSignal: 'SIGTERM',
    stopOrder: 0,
  });
  const READY = "process.send('ready'); setInterval(() => 0, 1000)";

  it('a program that is not there fails the start at once and is stopped at once', async () => {
    const service = new Supervised(spec('/no/such/program'), { onChange: () => undefined });
    await expect(service.start(30_000)).rejects.toThrow(/cannot be started/);
    await service.stop();
    await expect(service.start(30_000)).rejects.toThrow(/being stopped/);
  });

  it('a service is in a session of its own and starts again when it is killed', async () => {
    const service = new Supervised(spec(process.execPath, '-e', READY), { onChange: () => undefined });
    await service.start(30_000);
    const { pid } = service.status;
    const session = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[3];
    expect(session).toBe(String(pid));
    const again = new Promise<void>((resolve) => (service.onReady = resolve));
    process.kill(pid, 'SIGKILL');
    await again;
    expect(service.status).toMatchObject({ state: 'ready', restarts: 1 });
    await service.stop();
    expect(service.status.state).toBe('stopped');
  });

  it('a lock is held until all that hold the file open have ended', async () => {
    const path = join(directory, 'lock');
    const [mine, theirs] = [openSync(path, 'a'), openSync(path, 'a')];
    expect(tryLock(mine)).toBe(true);
    const service = new Supervised(spec(process.execPath, '-e', READY), {
      heldOpen: mine,
      onChange: () => undefined,
    });
    await service.start(30_000);
    closeSync(mine);
    expect(tryLock(theirs)).toBe(false);
    await service.stop();
    await sleep(50);
    expect(tryLock(theirs)).toBe(true);
    closeSync(theirs);
  });

  it('stack.json is whole after writes at once, and stays away once removed', async () => {
    const path = join(directory, 'stack.json');
    let n = 0;
    const file = new StackFile(path, () => ({ n: ++n }));
    await Promise.all([file.write(), file.write(), file.write()]);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ n: 3 });
    await file.remove();
    await file.write();
    expect(() => readFileSync(path)).toThrow(/ENOENT/);
  });

  it('secrets are made for a new stack only', async () => {
    const path = join(directory, 'secrets.json');
    await expect(loadSecrets(path, false)).rejects.toThrow(/put it back/);
    const made = await loadSecrets(path, true);
    expect(await loadSecrets(path, false)).toEqual(made);
  });
});
