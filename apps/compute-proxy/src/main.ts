/** compute-proxy: authenticates clients (Postgres, WebSocket, HTTP), holds them while their compute wakes, then splices bytes or runs their queries. */
import { clientSecurityOf, connect, controlInternalContract } from '@coppice/contracts';
import {
  createLog,
  metricsServer,
  part,
  printConfig,
  readConfig,
  runService,
  systemClock,
  systemRandom,
} from '@coppice/service-kit';
import { openCancelKeys } from './cancel/open-cancel-keys';
import { Certificate } from './tls/certificate';
import { CONFIG } from './config';
import { held } from './held-calls';
import { answerSql } from './http/answer-sql';
import { ByteBudget } from './http/byte-budget';
import { GuessLimit } from './limits/guess-limit';
import { httpPart } from './http/http-part';
import { PasswordLogins } from './http/password-logins';
import { listener } from './listener';
import { LiveCredentials } from './live-credentials';
import { LoginLimits } from './limits/login-limits';
import { ServerPool } from './pool/server-pool';
import { serveClient } from './session';
import { TransferMeter } from './transfer-meter';
import { webSockets } from './websocket/web-sockets';
import type { When } from './when';
import { wakeAndOpen } from './wake-and-open';

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
  wake: (endpointId: string, clientGone: AbortSignal, when: When = {}) =>
    held({ clock: systemClock, forMs: config.wakeTimeoutMs, signal: clientGone }, (signal) =>
      control.wake({ endpointId, ...when }, { signal, deadlineMs: config.wakeTimeoutMs }),
    ),
  wakeTimeoutMs: config.wakeTimeoutMs,
};
const pool = new ServerPool({
  open: ({ endpoint, parameters, readOnly, when }, signal) =>
    wakeAndOpen(endpoint, { parameters, readOnly, when }, waking, signal),
  liveCredentials,
  transfers,
  clock: systemClock,
  log,
  maxServers: config.poolServers,
  maxServersPerEndpoint: config.poolServersPerEndpoint,
  maxWaitingPerEndpoint: config.poolWaiting,
  waitTimeoutMs: config.poolWaitTimeoutMs,
  idleTimeoutMs: config.poolIdleTimeoutMs,
  maxStatementBytes: config.poolStatementBytes,
});
const guesses = new GuessLimit({
  perSecond: config.guessesPerSecond,
  burst: config.guessBurst,
  clock: systemClock,
});
const limits = new LoginLimits(config, systemClock);
const cancelling = openCancelKeys({ config, limits, log });
const services = {
  ...waking,
  liveCredentials,
  transfers,
  pool,
  limits,
  guesses,
  log,
  random: systemRandom,
  cancelKeys: cancelling.keys,
  mockSecret: systemRandom.bytes(32),
  tls: () => certificate.current,
  lookUpLogin: (endpointId: string, role: string, database: string, clientGone?: AbortSignal) =>
    held({ clock: systemClock, forMs: config.loginTimeoutMs, signal: clientGone }, (signal) =>
      control.getLogin({ endpointId, role, database }, { signal }),
    ),
  loginTimeoutMs: config.loginTimeoutMs,
};
const sql = {
  logins: new PasswordLogins({
    lookUp: services.lookUpLogin,
    guesses,
    clock: systemClock,
    random: systemRandom,
  }),
  pool,
  liveCredentials,
  clock: systemClock,
  maxRequestBytes: config.httpMaxRequestBytes,
  maxResponseBytes: config.httpMaxResponseBytes,
  receiveMs: config.httpReceiveTimeoutMs,
};
const budget = new ByteBudget(config.httpMemoryBytes);

void runService({
  log,
  parts: [
    metricsServer({ ...config, log }),
    part(
      'control client',
      () => undefined,
      () => control.close(),
    ),
    certificate.part(),
    liveCredentials.asPart(),
    transfers.asPart(),
    pool.asPart(),
    ...cancelling.parts,
    listener({ ...config, log, serve: (socket) => serveClient(socket, services) }),
    httpPart({
      host: config.httpHost,
      port: config.httpPort,
      maxConnections: config.httpMaxConnections,
      allowPlain: config.httpAllowPlain,
      receiveMs: config.httpReceiveTimeoutMs,
      tls: services.tls,
      budget,
      sql: (call) => answerSql(call, sql),
      upgrade: webSockets({
        maxFrameBytes: config.httpMaxRequestBytes,
        budget,
        serve: (stream, arrival) => serveClient(stream, services, arrival),
      }),
      clock: systemClock,
      random: systemRandom,
      log,
    }),
  ],
});
