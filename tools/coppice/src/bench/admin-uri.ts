import { ADMIN } from '@coppice/testing';
import type { ComputeSocket } from '@coppice/testing';

/** The superuser's connection string past the proxy: the compute's own Unix socket. */
export function adminUri({ socketDirectory, port }: ComputeSocket, database: string): string {
  return `postgresql://${ADMIN}@/${database}?host=${encodeURIComponent(socketDirectory)}&port=${port}`;
}
