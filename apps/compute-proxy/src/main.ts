/** compute-proxy: authenticates Postgres clients, holds them while their compute wakes, then splices bytes. */
import { connect, controlInternalContract } from '@coppice/contracts';
import {
  createLog,
  configTable,
  part,
  printConfig,
  readConfig,
  runService,
  systemClock,
  systemRandom,
} from '@coppice/service-kit';
import { CancelKeys } from './cancel-keys';
import { Certificate } from './certificate';
import { listener } from './listener';
import { serveClient } from './session';

export const CONFIG = configTable({
  host: { env: 'COPPICE_PROXY_HOST', type: 'string', default: '127.0.0.1', about: 'Address to listen on.' },
  port: {
    env: 'COPPICE_PROXY_PORT',
    type: 'integer',
    min: 1,
    max: 65535,
    default: 7432,
    about: 'Port to listen on.',
  },
  control: { env: 'COPPICE_CONTROL_ADDRESS', type: 'string', about: 'gRPC address of the control-plane.' },
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

const config = readConfig(CONFIG);
const log = createLog('compute-proxy');
log.info({ config: printConfig(CONFIG, config) }, 'starts');
const control = connect(controlInternalContract, { address: config.control, identity: 'compute-proxy' });
const certificate = new Certificate(config.certificate, config.key, log);
const services = {
  log,
  clock: systemClock,
  random: systemRandom,
  cancelKeys: new CancelKeys(systemRandom),
  mockSecret: systemRandom.bytes(32),
  tls: () => certificate.current,
  lookUpLogin: (endpointId: string, role: string, database: string) =>
    control.getLogin({ endpointId, role, database }),
  wake: (endpointId: string, signal: AbortSignal) =>
    control.wake({ endpointId }, { signal, deadlineMs: config.wakeTimeoutMs }),
  loginTimeoutMs: config.loginTimeoutMs,
  wakeTimeoutMs: config.wakeTimeoutMs,
};

void runService({
  log,
  parts: [
    part(
      'control client',
      () => undefined,
      () => control.close(),
    ),
    certificate.part(),
    listener({ ...config, log, serve: (socket, stop) => serveClient(socket, services, stop) }),
  ],
});
