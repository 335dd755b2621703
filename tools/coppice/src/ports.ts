/** The ports of a stack on one machine: fixed distances from the one that its user names. */
import { requireFreePort } from './machine';

export interface Ports {
  readonly api: number;
  readonly grpc: number;
  readonly postgres: number;
  /** For SQL over HTTP and WebSocket. */
  readonly http: number;
  /** Of each service, for `/metrics` and `/healthz`. */
  readonly metrics: Readonly<Record<MeasuredService, number>>;
}

/** In the order of their ports. */
const MEASURED_SERVICES = [
  'gateway',
  'control-plane',
  'compute-proxy',
  'compute-agent',
  'pageserver',
  'reaper',
  'safekeeper-1',
  'safekeeper-2',
  'safekeeper-3',
] as const;
export type MeasuredService = (typeof MEASURED_SERVICES)[number];

const FIRST_METRICS = 40;

export function portsFrom(base: number): Ports {
  return {
    api: base,
    grpc: base + 1,
    postgres: base + 32,
    http: base + 33,
    metrics: Object.fromEntries(
      MEASURED_SERVICES.map((service, i) => [service, base + FIRST_METRICS + i]),
    ) as Record<MeasuredService, number>,
  };
}

/** Where a service that listens on `port` shows its metrics. */
export function metricsUrl(port: number): string {
  return `http://127.0.0.1:${port}/metrics`;
}

/** Fails with the first port that somebody listens on. */
export async function requireFreePorts({ api, grpc, postgres, http, metrics }: Ports): Promise<void> {
  await requireFreePort(api, 'API');
  await requireFreePort(grpc, 'gRPC API');
  await requireFreePort(postgres, 'Postgres address');
  await requireFreePort(http, 'address for SQL over HTTP');
  for (const service of MEASURED_SERVICES) await requireFreePort(metrics[service], `metrics of ${service}`);
}
