/**
 * Loads a changed copy of pure code, a library or a file: one rule taken out of its source text, the rest as it is. The code
 * itself has no switches for tests.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { transformSync } from '@swc/core';
import * as vocabulary from '@coppice/vocabulary';

export interface Edit {
  /** File of the directory, without `.ts`. */
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

const WORKSPACE = join(__dirname, '../../../..');

/**
 * Compiles `entry` of a directory of the workspace with the edits made, and what it imports from there. Throws when a text to
 * replace is not there exactly once.
 */
export function loadMutant<Code>(directory: string, edits: readonly Edit[], entry = 'index'): Code {
  const modules = new Map<string, Record<string, unknown>>();
  const load = (file: string): Record<string, unknown> => {
    const loaded = modules.get(file);
    if (loaded) return loaded;
    const exports: Record<string, unknown> = {};
    modules.set(file, exports);
    let source = readFileSync(join(WORKSPACE, directory, `${file}.ts`), 'utf8');
    for (const edit of edits.filter((e) => e.file === file)) {
      if (source.split(edit.find).length !== 2)
        throw new Error(`"${edit.find}" does not stand exactly once in ${file}.ts`);
      source = source.replace(edit.find, () => edit.replace);
    }
    const { code } = transformSync(source, {
      jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
      module: { type: 'commonjs' },
    });
    const resolve = (id: string): unknown => {
      if (id.startsWith('./')) return load(id.slice(2));
      if (id === '@coppice/vocabulary') return vocabulary;
      throw new Error(`${directory}/${file}.ts imports ${id}: name it here`);
    };
    new Function('exports', 'require', code)(exports, resolve);
    return exports;
  };
  return load(entry) as Code;
}
