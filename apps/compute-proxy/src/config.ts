import { CLIENT_SECURITY_CONFIG } from '@coppice/contracts';
import { configTable } from '@coppice/service-kit';

/** Settings of the compute-proxy. */
export const CONFIG = configTable({
  host: {
    env: 'COPPICE_PROXY_LISTEN_HOST',
    type: 'string',
    default: '127.0.0.1',
    about: 'Address to listen on.',
  },
  port: {
    env: 'COPPICE_PROXY_PORT',
    type: 'integer',
    min: 1,
    max: 65535,
    default: 7432,
    about: 'Port to listen on.',
  },
  control: { env: 'COPPICE_CONTROL_ADDRESS', type: 'string', about: 'gRPC address of the control-plane.' },
  ...CLIENT_SECURITY_CONFIG,
  certificate: {
    env: 'COPPICE_PROXY_CERTIFICATE',
    type: 'string',
    default: '',
    about: 'PEM file of the TLS certificate; empty: no TLS is offered.',
  },
  key: { env: 'COPPICE_PROXY_KEY', type: 'string', default: '', about: "PEM file of the certificate's key." },
  maxConnections: {
    env: 'COPPICE_PROXY_MAX_CONNECTIONS',
    type: 'integer',
    min: 1,
    max: 100_000,
    default: 10_000,
    about: 'Clients served at once.',
  },
  loginTimeoutMs: {
    env: 'COPPICE_PROXY_LOGIN_TIMEOUT_MS',
    type: 'integer',
    min: 100,
    max: 600_000,
    default: 15_000,
    about: 'Time for a client to authenticate, milliseconds.',
  },
  wakeTimeoutMs: {
    env: 'COPPICE_PROXY_WAKE_TIMEOUT_MS',
    type: 'integer',
    min: 1_000,
    max: 600_000,
    default: 60_000,
    about: 'Time that a client is held while its compute wakes, milliseconds.',
  },
});
