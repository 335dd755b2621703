/**
 * Loads a changed copy of a pure library: one rule taken out of its source text, the rest as it is. The code itself has no
 * switches for tests.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { transformSync } from '@swc/core';
import * as vocabulary from '@coppice/vocabulary';

export interface Edit {
  /** File of the library's `src`, without `.ts`. */
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

const LIBRARIES = join(__dirname, '../../..');

/** Compiles a library with the edits made. Throws when a text to replace is not there exactly once. */
export function loadMutant<Code>(library: string, edits: readonly Edit[]): Code {
  const modules = new Map<string, Record<string, unknown>>();
  const load = (file: string): Record<string, unknown> => {
    const loaded = modules.get(file);
    if (loaded) return loaded;
    const exports: Record<string, unknown> = {};
    modules.set(file, exports);
    let source = readFileSync(join(LIBRARIES, library, 'src', `${file}.ts`), 'utf8');
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
      throw new Error(`libs/${library}/src/${file}.ts imports ${id}: name it here`);
    };
    new Function('exports', 'require', code)(exports, resolve);
    return exports;
  };
  return load('index') as Code;
}
