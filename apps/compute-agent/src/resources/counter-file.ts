import { closeSync, openSync, readSync } from 'node:fs';

/** Larger than any of the kernel's statistics files. */
const buffer = Buffer.allocUnsafe(32 * 1024);

/** A file of the kernel's that is read again and again, and kept open for that: a read then takes microseconds. */
export class CounterFile {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, 'r');
  }

  read(): string {
    return buffer.toString('latin1', 0, readSync(this.#fd, buffer, 0, buffer.length, 0));
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The number behind `name` in a file with a name and a number on each line; 0 when this kernel does not count that. */
export function counterIn(text: string, name: string): number {
  const at = text.startsWith(`${name} `) ? 0 : text.indexOf(`\n${name} `) + 1;
  if (at === 0 && !text.startsWith(`${name} `)) return 0;
  return parseInt(text.slice(at + name.length + 1), 10);
}
