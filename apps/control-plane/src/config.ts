import { ISSUER_SECURITY_CONFIG } from '@coppice/contracts';
import { configTable } from '@coppice/service-kit';

export const CONTROL_PLANE_CONFIG = configTable({
  listen: {
    env: 'COPPICE_CONTROL_PLANE_LISTEN',
    type: 'string',
    about: 'gRPC address to serve, unix:/path or host:port',
  },
  publicListen: {
    env: 'COPPICE_CONTROL_PLANE_PUBLIC_LISTEN',
    type: 'string',
    default: '',
    about: 'gRPC address to serve the public contracts on, for clients with API keys; empty for none',
  },
  safekeepers: {
    env: 'COPPICE_SAFEKEEPERS',
    type: 'list',
    about: 'gRPC addresses of all safekeepers, separated by commas',
  },
  pageserver: { env: 'COPPICE_PAGESERVER', type: 'string', about: 'gRPC address of the pageserver' },
  postgresHost: {
    env: 'COPPICE_METADATA_HOST',
    type: 'string',
    about: 'host or socket directory of the metadata Postgres',
  },
  postgresPort: {
    env: 'COPPICE_METADATA_PORT',
    type: 'integer',
    default: 5432,
    min: 1,
    max: 65535,
    about: 'port of the metadata Postgres',
  },
  postgresUser: {
    env: 'COPPICE_METADATA_USER',
    type: 'string',
    default: 'postgres',
    about: 'user of the metadata Postgres',
  },
  postgresPassword: {
    env: 'COPPICE_METADATA_PASSWORD',
    type: 'secret',
    default: '',
    about: 'password of the metadata Postgres; empty for none',
  },
  postgresDatabase: {
    env: 'COPPICE_METADATA_DATABASE',
    type: 'string',
    default: 'postgres',
    about: 'database of the metadata',
  },
  postgresConnections: {
    env: 'COPPICE_METADATA_CONNECTIONS',
    type: 'integer',
    default: 16,
    min: 2,
    max: 1000,
    about: 'connections to the metadata Postgres at most',
  },
  redisUrl: {
    env: 'COPPICE_REDIS_URL',
    type: 'secret',
    default: '',
    about:
      'Redis for the counters of agents, which several control-planes must share; empty: in this process, for a single one',
  },
  masterSecret: {
    env: 'COPPICE_MASTER_SECRET',
    type: 'secret',
    about: 'secret from which all role passwords are derived; must never change',
  },
  operatorKey: {
    env: 'COPPICE_OPERATOR_KEY',
    type: 'secret',
    about: 'API key of the operator, cpk_ and at least 16 characters',
  },
  endpointDomain: {
    env: 'COPPICE_ENDPOINT_DOMAIN',
    type: 'string',
    default: '',
    about: 'domain of endpoint host names; empty puts the endpoint into the connection options',
  },
  proxyHost: {
    env: 'COPPICE_PROXY_HOST',
    type: 'string',
    default: '127.0.0.1',
    about: 'host of the compute-proxy as clients see it',
  },
  proxyPort: {
    env: 'COPPICE_PROXY_PORT',
    type: 'integer',
    default: 7432,
    min: 1,
    max: 65535,
    about: 'port of the compute-proxy as clients see it',
  },
  sslMode: {
    env: 'COPPICE_SSL_MODE',
    type: 'string',
    default: '',
    about: 'sslmode in connection strings; empty leaves it out',
  },
  agentDeadAfterMs: {
    env: 'COPPICE_AGENT_DEAD_AFTER_MS',
    type: 'integer',
    default: 10_000,
    min: 500,
    about: 'silence after which a compute agent counts as dead, milliseconds',
  },
  wakeTimeoutMs: {
    env: 'COPPICE_WAKE_TIMEOUT_MS',
    type: 'integer',
    default: 55_000,
    min: 1_000,
    about: 'time for one wake with all its attempts, milliseconds',
  },
  recoveryWindowSeconds: {
    env: 'COPPICE_RECOVERY_WINDOW_SECONDS',
    type: 'integer',
    default: 604_800,
    min: 0,
    max: 7_776_000,
    about: 'time in which deleted branches and projects can be recovered, seconds',
  },
  ...ISSUER_SECURITY_CONFIG,
});
