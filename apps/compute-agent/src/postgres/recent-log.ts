const MAX_BYTES = 64 * 1024;

/** The newest lines that a PostgreSQL wrote to its standard error, up to 64 KiB. */
export class RecentLog {
  #text = '';

  push(chunk: Buffer | string): void {
    this.#text += chunk.toString();
    if (this.#text.length > 2 * MAX_BYTES) this.#text = this.#text.slice(-MAX_BYTES);
  }

  /** The last `count` lines. */
  tail(count: number): string {
    return this.#text.trimEnd().split('\n').slice(-count).join('\n');
  }

  /** The line that says why it died, when there is one: the last FATAL or PANIC, else the last line. */
  lastComplaint(): string {
    const lines = this.#text.trimEnd().split('\n');
    return lines.findLast((line) => /\b(FATAL|PANIC):/.test(line)) ?? lines.at(-1) ?? '';
  }
}
