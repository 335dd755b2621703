import { rmSync } from 'node:fs';
import { writeDurable } from '@coppice/service-kit';

/** `stack.json`: written anew, one write after the other, whenever what it tells has changed; gone after `remove`. */
export class StackFile {
  readonly #path: string;
  readonly #content: () => object;
  #last: Promise<void> = Promise.resolve();
  #removed = false;

  constructor(path: string, content: () => object) {
    this.#path = path;
    this.#content = content;
  }

  write(): Promise<void> {
    const next = this.#last.then(async () => {
      if (!this.#removed) await writeDurable(this.#path, `${JSON.stringify(this.#content(), null, 2)}\n`);
    });
    this.#last = next.catch(() => undefined);
    return next;
  }

  async remove(): Promise<void> {
    this.#removed = true;
    await this.#last;
    rmSync(this.#path, { force: true });
  }
}
