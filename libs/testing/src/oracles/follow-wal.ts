import { setTimeout as sleep } from 'node:timers/promises';
import { WAL_SEGMENT_SIZE } from '@coppice/postgres';
import { formatLsn } from '@coppice/vocabulary';
import type { Client } from 'pg';
import type { TestPostgres } from '../servers/postgres';
import { captureWal } from './capture-wal';

const POLL_MS = 20;
const SLOT = 'follow_wal';

/** Keeps a running server from recycling WAL that `followWal` has not read. */
export async function keepWal(server: TestPostgres): Promise<void> {
  await server.query('select pg_create_physical_replication_slot($1, true)', [SLOT]);
}

/**
 * The WAL of a running server from `from` on, as it is flushed, read from its files: until `isLast` says that the
 * workload is over and everything flushed by then was read. Call `keepWal` before the workload starts.
 */
export async function* followWal(
  server: TestPostgres,
  from: number,
  isLast: () => boolean,
): AsyncGenerator<Buffer> {
  // A connection of its own: workloads end the server's kept ones.
  const client = await server.connect();
  try {
    let at = from;
    let released = from;
    for (;;) {
      const last = isLast();
      const flushed = await flushedUpTo(client);
      for await (const chunk of captureWal(server, at, flushed)) yield chunk;
      at = Math.max(at, flushed);
      if (last) return;
      if (at - released > WAL_SEGMENT_SIZE) {
        released = at;
        await client.query('select pg_replication_slot_advance($1, $2::pg_lsn)', [SLOT, formatLsn(at)]);
      }
      await sleep(POLL_MS);
    }
  } finally {
    await client.end();
  }
}

async function flushedUpTo(client: Client): Promise<number> {
  const { rows } = await client.query<{ lsn: string }>(
    `select (pg_current_wal_flush_lsn() - '0/0')::text as lsn`,
  );
  return Number(rows[0]!.lsn);
}
