import { open } from 'node:fs/promises';
import type { LsnNumber } from '@coppice/vocabulary';
import { segmentStart } from '@coppice/postgres';
import type { TestPostgres } from '../servers/postgres';

const CHUNK = 256 * 1024;

/** Where the server's next record will go: the end of the last one it inserted. */
export async function currentWalPosition(server: TestPostgres): Promise<LsnNumber> {
  const [row] = await server.query<{ lsn: string }>("select pg_current_wal_insert_lsn() - '0/0' as lsn");
  return Number(row!.lsn);
}

/** Makes the server write out all WAL inserted so far, so that its files can be read up to the position returned. */
export async function flushWal(server: TestPostgres): Promise<LsnNumber> {
  const target = await currentWalPosition(server);
  await server.query("select pg_logical_emit_message(false, 'flush', '', true)");
  return target;
}

/** The WAL bytes `[from, to)` as they stand in the server's `pg_wal`. Fails when a segment is gone or shorter. */
export async function* captureWal(
  server: TestPostgres,
  from: LsnNumber,
  to: LsnNumber,
): AsyncGenerator<Buffer> {
  let at = from;
  while (at < to) {
    const start = segmentStart(at, server.walSegmentSize);
    const file = await open(server.walFile(at), 'r');
    try {
      const end = Math.min(to, start + server.walSegmentSize);
      while (at < end) {
        const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK, end - at));
        const { bytesRead } = await file.read(chunk, 0, chunk.length, at - start);
        if (bytesRead === 0) throw new Error(`${server.walFile(at)} ends before position ${at}`);
        yield chunk.subarray(0, bytesRead);
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
  }
}

/** The same bytes in one buffer. */
export async function captureWalBytes(server: TestPostgres, from: LsnNumber, to: LsnNumber): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of captureWal(server, from, to)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
