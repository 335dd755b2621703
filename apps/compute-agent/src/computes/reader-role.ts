import type { Client } from 'pg';
import { READER_ROLE } from '../prepare/settings';

/**
 * Who sessions through the read-only socket are. It can log in, because the proxy connects as it, but no credential is
 * its own; it reads everything that row-level security lets everybody see, owns nothing and is a member of nothing else.
 */
export const READER_SETUP: readonly string[] = [
  `create role ${READER_ROLE} login inherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls`,
  `grant pg_read_all_data to ${READER_ROLE}`,
];

/** Creates the role where a branch began on a template that lacks it. */
export async function ensureReader(client: Client): Promise<void> {
  const { rowCount } = await client.query('select from pg_roles where rolname = $1', [READER_ROLE]);
  if (rowCount === 0) await client.query(READER_SETUP.join('; '));
}
