/** compute-proxy: authenticates Postgres clients, holds them while their compute wakes, then splices bytes. */
import { clientSecurityOf, connect, controlInternalContract } from '@coppice/contracts';
import {
  createLog,
  part,
  printConfig,
  readConfig,
  runService,
  systemClock,
  systemRandom,
} from '@coppice/service-kit';
import { CancelKeys } from './cancel-keys';
import { Certificate } from './certificate';
import { CONFIG } from './config';
import { held } from './held-calls';
import { listener } from './listener';
import { LiveCredentials } from './live-credentials';
import { ServerPool } from './pool/server-pool';
import { serveClient, wakeAndOpen } from './session';
import { TransferMeter } from './transfer-meter';

const config = readConfig(CONFIG);
const log = createLog('compute-proxy');
log.info({ config: printConfig(CONFIG, config) }, 'starts');
const control = connect(controlInternalContract, {
  address: config.control,
  security: clientSecurityOf(config),
});
const certificate = new Certificate(config.certificate, config.key, log);
const liveCredentials = new LiveCredentials({
  findEnded: async (ids, signal) => (await control.findEndedCredentials({ ids: [...ids] }, { signal })).ids,
  clock: systemClock,
  log,
});
const transfers = new TransferMeter({
  tell: (told, signal) => control.reportTransferred({ transfers: [...told] }, signal ? { signal } : {}),
  log,
});
const waking = {
  clock: systemClock,
  wake: (endpointId: string, clientGone: AbortSignal) =>
    held({ clock: systemClock, forMs: config.wakeTimeoutMs, signal: clientGone }, (signal) =>
      control.wake({ endpointId }, { signal, deadlineMs: config.wakeTimeoutMs }),
    ),
  wakeTimeoutMs: config.wakeTimeoutMs,
};
const pool = new ServerPool({
  open: ({ endpoint, parameters, readOnly }, signal) =>
    wakeAndOpen(endpoint, { parameters, readOnly }, waking, signal),
  liveCredentials,
  transfers,
  clock: systemClock,
  log,
  maxServers: config.poolServers,
  maxServersPerEndpoint: config.poolServersPerEndpoint,
  maxWaitingPerEndpoint: config.poolWaiting,
  waitTimeoutMs: config.poolWaitTimeoutMs,
  idleTimeoutMs: config.poolIdleTimeoutMs,
});
const services = {
  ...waking,
  liveCredentials,
  transfers,
  log,
  random: systemRandom,
  cancelKeys: new CancelKeys(systemRandom),
  mockSecret: systemRandom.bytes(32),
  tls: () => certificate.current,
  lookUpLogin: (endpointId: string, role: string, database: string) =>
    held({ clock: systemClock, forMs: config.loginTimeoutMs }, (signal) =>
      control.getLogin({ endpointId, role, database }, { signal }),
    ),
  loginTimeoutMs: config.loginTimeoutMs,
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
    liveCredentials.asPart(),
    transfers.asPart(),
    pool.asPart(),
    listener({ ...config, log, serve: (socket, stop) => serveClient(socket, services, stop) }),
  ],
});
