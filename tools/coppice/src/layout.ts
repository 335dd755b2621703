/**
 * Where a stack on one machine keeps its things.
 *
 *   DIR/stack.json     what runs, for people and scripts (holds the API key: mode 0600)
 *   DIR/secrets.json   keys of this stack
 *   DIR/lock           locked while a stack, or a process that a killed one left, uses the directory
 *   DIR/metadata       the metadata Postgres
 *   DIR/safekeeper-N   WAL
 *   DIR/objects        object storage
 *   DIR/pageserver     pageserver's local cache
 *   DIR/logs           one file per service
 *   RUN/               sockets and computes: short (socket paths hold 107 bytes), outside DIR so that Postgres as an
 *     svc/  (0700)     unprivileged user can reach what is its own
 *     c/               one private directory per compute
 */
import { createHash } from 'node:crypto';
import { existsSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export interface Layout {
  readonly directory: string;
  readonly run: string;
  readonly stackFile: string;
  readonly secretsFile: string;
  readonly lockFile: string;
  readonly metadata: string;
  readonly metadataSocket: string;
  readonly objects: string;
  readonly pageserver: string;
  readonly logs: string;
  readonly services: string;
  readonly computes: string;
  readonly control: string;
  safekeeper(number: number): string;
  /** gRPC address of a service. */
  address(service: string): string;
}

export function layoutOf(dataDirectory: string, make: (path: string) => void): Layout {
  make(resolve(dataDirectory));
  const directory = existsSync(resolve(dataDirectory))
    ? realpathSync(resolve(dataDirectory))
    : resolve(dataDirectory);
  const hash = createHash('sha256').update(directory).digest('hex').slice(0, 10);
  const run = join(tmpdir(), `coppice-${process.getuid?.() ?? 0}-${hash}`);
  const services = join(run, 'svc');
  return {
    directory,
    run,
    stackFile: join(directory, 'stack.json'),
    secretsFile: join(directory, 'secrets.json'),
    lockFile: join(directory, 'lock'),
    metadata: join(directory, 'metadata'),
    metadataSocket: join(run, 'meta'),
    objects: join(directory, 'objects'),
    pageserver: join(directory, 'pageserver'),
    logs: join(directory, 'logs'),
    services,
    computes: join(run, 'c'),
    control: join(services, 'supervisor'),
    safekeeper: (number) => join(directory, `safekeeper-${number}`),
    address: (service) => `unix:${join(services, service)}`,
  };
}
