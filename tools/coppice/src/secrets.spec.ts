import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseIdentityKey } from '@coppice/service-kit';
import { loadSecrets } from './secrets';

describe("a stack's secrets", () => {
  const directory = mkdtempSync(join(tmpdir(), 'coppice-secrets-'));
  const path = join(directory, 'secrets.json');
  const write = (content: object): void => writeFileSync(path, JSON.stringify(content), { mode: 0o600 });
  const onDisk = (): unknown => JSON.parse(readFileSync(path, 'utf8'));
  afterAll(() => rmSync(directory, { recursive: true }));
  beforeEach(() => rmSync(path, { force: true }));

  it('are made once for a new stack, for its owner only', async () => {
    const made = await loadSecrets(path, true);
    expect(made.operatorKey).toMatch(/^cpk_/);
    expect(() => parseIdentityKey(made.identityKey)).not.toThrow();
    expect(await loadSecrets(path, false)).toEqual(made);
    expect(statSync(path).mode & 0o077).toBe(0);
  });

  it('get an identity key where they have none, and keep everything else', async () => {
    const before = { operatorKey: 'cpk_x', passwordSecret: 's', later: 1 };
    write(before);
    const { identityKey, ...kept } = await loadSecrets(path, false);
    expect(kept).toEqual(before);
    expect(onDisk()).toEqual({ ...before, identityKey });
    expect((await loadSecrets(path, false)).identityKey).toBe(identityKey);
  });

  it('are never made anew beside data', async () => {
    await expect(loadSecrets(path, false)).rejects.toThrow('put it back from a backup');
    write({ operatorKey: 'cpk_x', identityKey: 'k' });
    await expect(loadSecrets(path, false)).rejects.toThrow('is damaged');
    writeFileSync(path, '{"operatorKey"');
    await expect(loadSecrets(path, false)).rejects.toThrow('is damaged');
    expect(readFileSync(path, 'utf8')).toBe('{"operatorKey"');
  });
});
