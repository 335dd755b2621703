import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inDirectory } from './guarded-directory';
import { replaceFile, writeNewFile } from './write-layout';

describe('in the directory of a user who may put links there', () => {
  let directory: string;
  const at = (name: string): string => join(directory, name);
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'guarded-'));
    mkdirSync(at('data/base/5'), { recursive: true });
    mkdirSync(at('elsewhere/5'), { recursive: true });
    writeFileSync(at('target'), 'of somebody else');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('files are made below it, and nothing stays open', () => {
    const open = (): number => readdirSync('/proc/self/fd').length;
    const before = open();
    inDirectory(at('data'), 'base/5', (path) => writeNewFile(`${path}/1`, 'one', undefined));
    inDirectory(at('data'), '', (path) => writeNewFile(`${path}/2`, 'two', undefined));
    expect(() => inDirectory(at('data'), 'base/6', () => undefined)).toThrow(/ENOENT/);
    expect(['data/base/5/1', 'data/2'].map((name) => readFileSync(at(name), 'utf8'))).toEqual(['one', 'two']);
    expect(open()).toBe(before);
  });

  it.each(['data', 'data/base', 'data/base/5'])('none is made through a link in the place of %s', (name) => {
    rmSync(at(name), { recursive: true });
    symlinkSync(at('elsewhere'), at(name));
    const make = (): void =>
      inDirectory(at('data'), 'base/5', (path) => writeNewFile(`${path}/1`, 'one', undefined));
    expect(make).toThrow(expect.objectContaining({ code: 'not-a-directory' }) as Error);
    expect([readdirSync(at('elsewhere')), readdirSync(at('elsewhere/5'))]).toEqual([['5'], []]);
  });

  it.each(['conf', 'conf.new'])('a file is replaced, and %s not followed if it is a link', (name) => {
    symlinkSync(at('target'), at(`data/${name}`));
    replaceFile(at('data/conf'), 'jit = on', undefined);
    replaceFile(at('data/conf'), 'jit = off', undefined);
    expect(lstatSync(at('data/conf')).isFile()).toBe(true);
    expect(readFileSync(at('data/conf'), 'utf8')).toBe('jit = off');
    expect(readdirSync(at('data')).sort()).toEqual(['base', 'conf']);
    expect(readFileSync(at('target'), 'utf8')).toBe('of somebody else');
  });
});
