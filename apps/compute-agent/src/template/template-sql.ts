import { READER_SETUP } from '../computes/reader-role';

/** Role and database that every project begins with. */
const OWNER_ROLE = 'neondb_owner';
const DEFAULT_DATABASE = 'neondb';

/** In the maintenance database, once. The proxy authenticates clients: no role has a password here. */
export const SERVER_SETUP: readonly string[] = [
  `create role ${OWNER_ROLE} login createdb createrole nosuperuser noreplication inherit`,
  `grant pg_read_all_data, pg_write_all_data, pg_monitor, pg_signal_backend, pg_create_subscription to ${OWNER_ROLE} with admin option`,
  ...READER_SETUP,
  `create database ${DEFAULT_DATABASE} owner ${OWNER_ROLE}`,
];

/** In every database, also those that only serve to be copied. */
export const DATABASE_SETUP: readonly string[] = [
  // Messages in the WAL carry files of ours: nobody else may write what looks like one.
  'revoke execute on function pg_logical_emit_message(boolean, text, text, boolean), pg_logical_emit_message(boolean, text, bytea, boolean) from public',
  // Frozen pages need no further writes in any branch.
  'vacuum (freeze, analyze)',
];

export const DATABASES = ['postgres', 'template0', 'template1', DEFAULT_DATABASE] as const;

/** `template0` lets nobody in but meanwhile. */
export const OPEN_TEMPLATE0 = 'alter database template0 allow_connections true';
export const CLOSE_TEMPLATE0 = 'alter database template0 allow_connections false';
