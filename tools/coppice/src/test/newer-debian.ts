/**
 * Packages of Debian 13 on a machine that may have an older one: downloaded with a package list of our own and unpacked
 * into a folder, never installed. The system's configuration and its list of packages stay as they are; the mirror is the
 * one that the system itself uses for its main archive.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const SUITE = 'trixie';
const TIMEOUT_MS = 180_000;

export class NewerDebian {
  readonly #directory: string;
  readonly #options: readonly string[];
  #listed = false;

  /** `directory` holds package lists and downloads until `tidy`. */
  constructor(directory: string) {
    this.#directory = resolve(directory);
    const at = (name: string): string => join(this.#directory, name);
    this.#options = [
      'Dir::Etc::sourcelist=/dev/null',
      `Dir::Etc::sourceparts=${at('parts')}`,
      `Dir::State::lists=${at('lists')}`,
      `Dir::Cache=${at('cache')}`,
      'Acquire::Retries=1',
      'Acquire::http::Timeout=15',
      ...(process.getuid?.() === 0 ? ['APT::Sandbox::User=root'] : []),
    ].flatMap((option) => ['-o', option]);
  }

  /** Unpacks binary packages below `into`. Throws when one is not to be had. */
  unpack(packages: readonly string[], into: string): void {
    const from = this.#emptyDirectory('download');
    mkdirSync(into, { recursive: true });
    this.#apt(['download', ...packages], from);
    for (const name of readdirSync(from)) run('dpkg', ['-x', join(from, name), into], from);
  }

  /** Downloads a source package and unpacks its original archive; returns the directory of the sources. */
  unpackSource(name: string, into: string): string {
    const from = this.#emptyDirectory('download');
    this.#apt(['source', '--download-only', name], from);
    const archive = readdirSync(from).find((file) => file.includes('.orig.tar.'));
    if (!archive) throw new Error(`the source package ${name} has no original archive`);
    mkdirSync(into, { recursive: true });
    run('tar', ['-xf', join(from, archive), '-C', into, '--strip-components=1', '--no-same-owner'], from);
    return into;
  }

  /** Removes lists and downloads. */
  tidy(): void {
    rmSync(this.#directory, { recursive: true, force: true });
    this.#listed = false;
  }

  #apt(args: readonly string[], cwd: string): void {
    if (!this.#listed) {
      const source = mainArchive();
      if (!source) throw new Error('the apt sources of this machine name no Debian archive');
      for (const name of ['parts', 'lists/partial', 'cache/archives/partial'])
        mkdirSync(join(this.#directory, name), { recursive: true });
      writeFileSync(join(this.#directory, 'parts', 'list.sources'), source);
      run('apt-get', [...this.#options, '-q', 'update'], this.#directory);
      this.#listed = true;
    }
    run('apt-get', [...this.#options, '-q', ...args], cwd);
  }

  #emptyDirectory(name: string): string {
    const path = join(this.#directory, name);
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path, { recursive: true });
    return path;
  }
}

function run(command: string, args: readonly string[], cwd: string): void {
  const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: TIMEOUT_MS });
  if (status !== 0)
    throw new Error(`${command} failed: ${(error?.message ?? stderr).trim().split('\n').at(-1)}`);
}

/** The system's own mirror of the main archive, as a source of the newer suite. */
function mainArchive(): string | undefined {
  const codename = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  const found = sourceTexts()
    .map((text) => archiveIn(text, codename ?? ''))
    .find((archive) => archive !== undefined);
  if (!found) return undefined;
  return `Types: deb deb-src\nURIs: ${found.uri}\nSuites: ${SUITE}\nComponents: main\n${found.signedBy}`;
}

function sourceTexts(): string[] {
  const parts = '/etc/apt/sources.list.d';
  const files = existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : [];
  return [...files, '/etc/apt/sources.list']
    .filter((path) => existsSync(path))
    .map((path) => readFileSync(path, 'utf8'));
}

interface Archive {
  readonly uri: string;
  /** A `Signed-By` line, or nothing. */
  readonly signedBy: string;
}

/** The archive of suite `codename` in a file of either format of sources.list(5). */
export function archiveIn(text: string, codename: string): Archive | undefined {
  for (const stanza of text.split(/\n\s*\n/)) {
    const field = (name: string): string | undefined =>
      new RegExp(`^${name}:[ \\t]*(.+)$`, 'im').exec(stanza)?.[1]?.trim();
    const uri = field('URIs')?.split(/\s+/)[0];
    if (!uri || !field('Suites')?.split(/\s+/).includes(codename)) continue;
    const signedBy = field('Signed-By');
    return { uri, signedBy: signedBy ? `Signed-By: ${signedBy}\n` : '' };
  }
  const line = new RegExp(`^deb\\s+(?:\\[(.*?)\\]\\s+)?(\\S+)\\s+${codename}\\s`, 'm').exec(text);
  if (!line) return undefined;
  const key = /signed-by=(\S+)/.exec(line[1] ?? '')?.[1];
  return { uri: line[2]!, signedBy: key ? `Signed-By: ${key}\n` : '' };
}
