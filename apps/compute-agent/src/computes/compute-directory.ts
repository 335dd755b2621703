import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** Port in the name of every compute's socket file; the directory tells computes apart. */
export const SOCKET_PORT = 5432;
/** Below the socket directory; the interposer knows sessions by it, and the proxy finds it by it. */
const READ_ONLY_SOCKETS = 'read-only';

/**
 * The private directory of one compute:
 *
 *   <computes>/<12 digits>/   mode 0700, owned by the compute's user
 *     data/                   PGDATA
 *     s/                      PostgreSQL's socket `.s.PGSQL.5432` and the page source's, `p`
 *     s/read-only/            PostgreSQL's socket for sessions that cannot write, of the same name
 *     state                   which blocks are here (mapped by the interposer)
 *
 * The name is short because the path of a socket is at most 107 bytes long.
 */
export interface ComputeDirectory {
  readonly root: string;
  readonly data: string;
  readonly sockets: string;
  readonly readOnlySockets: string;
  readonly postgresSocket: string;
  readonly pageSocket: string;
  readonly state: string;
}

export function computeDirectory(computesDirectory: string, computeId: string): ComputeDirectory {
  const name = createHash('sha256').update(computeId).digest('hex').slice(0, 12);
  const root = join(computesDirectory, name);
  const sockets = join(root, 's');
  return {
    root,
    data: join(root, 'data'),
    sockets,
    readOnlySockets: join(sockets, READ_ONLY_SOCKETS),
    postgresSocket: join(sockets, `.s.PGSQL.${SOCKET_PORT}`),
    pageSocket: join(sockets, 'p'),
    state: join(root, 'state'),
  };
}
