import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

describe('a failpoint', () => {
  const directory = mkdtempSync(join(tmpdir(), 'failpoint-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  const load = async (env: Readonly<Record<string, string>>) => {
    jest.resetModules();
    const before = { ...process.env };
    Object.assign(process.env, env);
    try {
      return await import('./failpoint');
    } finally {
      process.env = before;
    }
  };

  it('does nothing until it is armed, and nothing when it is disarmed again', async () => {
    const { failpoint, armFailpoint } = await load({});
    expect(() => failpoint('p')).not.toThrow();
    const disarm = armFailpoint('p', 'error');
    expect(() => failpoint('p')).toThrow('failpoint p: error');
    expect(() => failpoint('q')).not.toThrow();
    disarm();
    expect(() => failpoint('p')).not.toThrow();
  });

  it('is armed by the environment for as long as the process lives', async () => {
    const { failpoint } = await load({ COPPICE_FAILPOINTS: 'p=error,q=error' });
    for (const name of ['p', 'p', 'q']) expect(() => failpoint(name)).toThrow(name);
  });

  it('is armed once by a file, whenever that comes', async () => {
    const { failpoint } = await load({ COPPICE_FAILPOINT_DIRECTORY: directory });
    expect(() => failpoint('p')).not.toThrow();
    writeFileSync(join(directory, 'p'), 'error\n');
    expect(() => failpoint('q')).not.toThrow();
    expect(() => failpoint('p')).toThrow('failpoint p: error');
    expect(() => failpoint('p')).not.toThrow();
    expect(existsSync(join(directory, 'p.hit'))).toBe(true);
  });
});
