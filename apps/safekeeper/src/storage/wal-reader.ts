import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { segmentName, segmentStart, WAL_SEGMENT_SIZE } from '@coppice/postgres';
import { CoppiceError } from '@coppice/service-kit';
import { formatLsn, toLsnNumber, type Lsn, type LsnNumber } from '@coppice/vocabulary';

/** Reads WAL of one timeline beside its writer; keeps one segment open. The caller knows what is there. */
export class WalReader {
  readonly #directory: string;
  #segment: { readonly start: LsnNumber; readonly file: FileHandle } | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Bytes from `from` on: at most up to `to`, at most `maxBytes`, within one segment; at least one. */
  async read(from: Lsn, to: Lsn, maxBytes: number): Promise<Buffer> {
    const at = toLsnNumber(from);
    const start = segmentStart(at);
    const count = Math.min(toLsnNumber(to) - at, maxBytes, start + WAL_SEGMENT_SIZE - at);
    if (this.#segment?.start !== start) {
      await this.close();
      this.#segment = { start, file: await open(join(this.#directory, segmentName(start)), 'r') };
    }
    const bytes = Buffer.allocUnsafeSlow(count);
    const { bytesRead } = await this.#segment.file.read(bytes, 0, count, at - start);
    if (bytesRead === 0) {
      throw new CoppiceError(
        'Corrupt',
        'wal-missing',
        `${segmentName(start)} ends before ${formatLsn(from)}`,
      );
    }
    return bytes.subarray(0, bytesRead);
  }

  async close(): Promise<void> {
    const segment = this.#segment;
    this.#segment = undefined;
    await segment?.file.close();
  }
}
