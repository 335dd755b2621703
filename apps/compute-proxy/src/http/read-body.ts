/** The body of a request, at most so long, in so much time, within the budget. A refused one is left for the server to let run out. */
import type { Readable } from 'node:stream';
import { CoppiceError } from '@coppice/service-kit';
import type { ByteAccount } from './byte-budget';
import { requestTooLarge } from './sql-errors';

export interface BodyLimits {
  readonly maxBytes: number;
  readonly account: ByteAccount;
  /** Fires when the client goes or takes too long. */
  readonly signal: AbortSignal;
}

export function readBody(stream: Readable, { maxBytes, account, signal }: BodyLimits): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const settle = (act: () => void): void => {
      stream.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const fail = (error: unknown): void => settle(() => reject(error));
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > maxBytes) return fail(requestTooLarge(maxBytes));
      try {
        account.add(chunk.length);
      } catch (error) {
        return fail(error);
      }
      chunks.push(chunk);
    };
    const onEnd = (): void => settle(() => resolve(Buffer.concat(chunks, length)));
    const onGone = (): void =>
      fail(new CoppiceError('Malformed', 'request-cut-off', 'could not read the HTTP request body'));
    const onAbort = (): void => fail(signal.reason);
    if (signal.aborted) return onAbort();
    stream.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
