/** Role and database that every project begins with. */
const OWNER_ROLE = 'neondb_owner';
const DEFAULT_DATABASE = 'neondb';

/** In the maintenance database, once. The proxy authenticates clients: no role has a password here. */
export const SERVER_SETUP: readonly string[] = [
  `create role ${OWNER_ROLE} login createdb createrole nosuperuser noreplication inherit`,
  `grant pg_read_all_data, pg_write_all_data, pg_monitor, pg_signal_backend, pg_create_subscription to ${OWNER_ROLE} with admin option`,
  `create database ${DEFAULT_DATABASE} owner ${OWNER_ROLE}`,
];

/** In every database that can be connected to: frozen pages need no further writes in any branch. */
export const DATABASE_SETUP: readonly string[] = ['vacuum (freeze, analyze)'];
