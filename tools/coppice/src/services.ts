/** The services of a stack on one machine: what is started, with which settings, and in which order it stops. */
import { join, resolve } from 'node:path';
import { IdentityIssuer, type IdentityScope, type ServiceName } from '@coppice/service-kit';
import type { Layout } from './layout';
import type { PostgresUser } from './machine';
import { METADATA_USER } from './metadata-postgres';
import { nodeRuntimeOf } from './node-runtime';
import { type MeasuredService, metricsUrl, type Ports } from './ports';
import { metricsToken, type Secrets } from './secrets';
import type { ServiceSpec } from './supervisor';

export interface StackOptions {
  readonly layout: Layout;
  readonly secrets: Secrets;
  readonly bin: string;
  readonly user: PostgresUser | undefined;
  readonly ports: Ports;
  readonly tls: { readonly certificate: string; readonly key: string };
  /** Where the counters of agents are; empty: in the control-plane. */
  readonly redisUrl: string;
}

/** A machine on which the stack is one thing among others: what a node of its own keeps ready would be a tenth of its memory. */
const SPARE_MEMORIES = '16';
export const SAFEKEEPERS = [1, 2, 3] as const;
const PAGESERVER = 'pageserver-1';
const AGENT = 'agent-1';

export function nodeServices(options: StackOptions): ServiceSpec[] {
  const { layout, secrets, bin, user, ports, tls, redisUrl } = options;
  const dist = resolve(__dirname, '..');
  const safekeepers = SAFEKEEPERS.map((n) => `sk${n}=${layout.address(`sk${n}`)}`).join(',');
  const control = {
    COPPICE_CONTROL_ADDRESS: layout.address('control'),
  };
  const issuer = new IdentityIssuer(secrets.identityKey);
  const identity = (service: ServiceName, scope: IdentityScope = {}): Record<string, string> => ({
    COPPICE_IDENTITY_PUBLIC_KEY: issuer.publicKey,
    COPPICE_IDENTITY_TOKEN: issuer.issue(service, scope),
  });
  const node = (
    name: MeasuredService,
    app: string,
    stopOrder: number,
    env: Record<string, string>,
  ): ServiceSpec => ({
    name,
    command: process.execPath,
    args: [...nodeRuntimeOf(app).flags, '--enable-source-maps', join(dist, app, 'main.js')],
    env: {
      ...nodeRuntimeOf(app).env,
      ...env,
      COPPICE_METRICS_PORT: String(ports.metrics[name]),
      COPPICE_METRICS_TOKEN: metricsToken(secrets),
    },
    metrics: metricsUrl(ports.metrics[name]),
    log: join(layout.logs, `${name}.log`),
    readiness: 'ipc',
    startOrder: 2,
    stopSignal: 'SIGTERM',
    stopOrder,
  });
  return [
    ...SAFEKEEPERS.map((n) =>
      node(`safekeeper-${n}` as const, 'safekeeper', 6, {
        ...identity('safekeeper', { node: `sk${n}` }),
        COPPICE_SAFEKEEPER_ID: `sk${n}`,
        COPPICE_SAFEKEEPER_ADDRESS: layout.address(`sk${n}`),
        COPPICE_SAFEKEEPER_DATA: layout.safekeeper(n),
      }),
    ),
    {
      ...node('pageserver', 'pageserver', 5, {
        ...control,
        ...identity('pageserver', { node: PAGESERVER }),
        COPPICE_PAGESERVER_ID: PAGESERVER,
        COPPICE_PAGESERVER_ADDRESS: layout.address('pageserver'),
        COPPICE_OBJECT_STORE: `file:${layout.objects}`,
        COPPICE_SAFEKEEPERS: safekeepers,
      }),
      listens: socketOf(layout.address('pageserver')),
    },
    {
      ...node('control-plane', 'control-plane', 4, {
        COPPICE_CONTROL_PLANE_LISTEN: layout.address('control'),
        COPPICE_CONTROL_PLANE_PUBLIC_LISTEN: `127.0.0.1:${ports.grpc}`,
        COPPICE_METADATA_HOST: layout.metadataSocket,
        COPPICE_METADATA_USER: METADATA_USER,
        COPPICE_PAGESERVER: layout.address('pageserver'),
        COPPICE_SAFEKEEPERS: SAFEKEEPERS.map((n) => layout.address(`sk${n}`)).join(','),
        COPPICE_OPERATOR_KEY: secrets.operatorKey,
        COPPICE_MASTER_SECRET: secrets.passwordSecret,
        COPPICE_IDENTITY_PRIVATE_KEY: secrets.identityKey,
        COPPICE_PROXY_PORT: String(ports.postgres),
        COPPICE_REDIS_URL: redisUrl,
      }),
      startOrder: 1,
      listens: socketOf(layout.address('control')),
    },
    node('compute-agent', 'compute-agent', 3, {
      ...control,
      ...identity('compute-agent', { node: AGENT }),
      COPPICE_AGENT_NODE: AGENT,
      COPPICE_AGENT_ADDRESS: layout.address('agent'),
      COPPICE_AGENT_RUN_DIRECTORY: layout.computes,
      COPPICE_AGENT_SPARE_MEMORIES: process.env['COPPICE_AGENT_SPARE_MEMORIES'] ?? SPARE_MEMORIES,
      COPPICE_AGENT_WARM_SETS: join(layout.directory, 'warm-sets.json'),
      COPPICE_PAGESERVER_ADDRESS: layout.address('pageserver'),
      COPPICE_SAFEKEEPERS: safekeepers,
      COPPICE_PG_BIN: bin,
      ...(user ? { COPPICE_POSTGRES_UID: String(user.uid), COPPICE_POSTGRES_GID: String(user.gid) } : {}),
    }),
    // Last, when everybody that it makes work for is there.
    { ...node('reaper', 'reaper', 2, { ...control, ...identity('reaper') }), startOrder: 3 },
    node('gateway', 'gateway', 1, {
      ...control,
      ...identity('gateway'),
      COPPICE_GATEWAY_PORT: String(ports.api),
    }),
    node('compute-proxy', 'compute-proxy', 1, {
      ...control,
      ...identity('compute-proxy'),
      COPPICE_PROXY_PORT: String(ports.postgres),
      COPPICE_PROXY_HTTP_PORT: String(ports.http),
      COPPICE_PROXY_CERTIFICATE: tls.certificate,
      COPPICE_PROXY_KEY: tls.key,
      COPPICE_REDIS_URL: redisUrl,
      COPPICE_PROXY_PEER_ADDRESS: redisUrl === '' ? '' : layout.address('proxy'),
    }),
  ];
}

function socketOf(address: string): string {
  return address.slice('unix:'.length);
}
