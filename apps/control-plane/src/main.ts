import { openCatalog } from '@coppice/catalog';
import { issuerSecurityOf } from '@coppice/contracts';
import {
  createLog,
  metricsServer,
  printConfig,
  readConfig,
  runService,
  systemClock,
  systemRandom,
} from '@coppice/service-kit';
import { buildControlPlane } from './build-control-plane';
import { CONTROL_PLANE_CONFIG } from './config';
import { Peers } from './peers';
import { openQuotaStore } from './quotas/open-quota-store';

const log = createLog('control-plane');
const config = readConfig(CONTROL_PLANE_CONFIG);
log.info(printConfig(CONTROL_PLANE_CONFIG, config), 'configuration');

const catalog = openCatalog({
  host: config.postgresHost,
  port: config.postgresPort,
  user: config.postgresUser,
  database: config.postgresDatabase,
  maxConnections: config.postgresConnections,
  log,
  ...(config.postgresPassword === '' ? {} : { password: config.postgresPassword }),
});
const security = issuerSecurityOf(config, 'control-plane');
const peers = new Peers({ safekeepers: config.safekeepers, pageserver: config.pageserver }, security);

void openQuotaStore(config.redisUrl, log, systemClock).then((quotas) =>
  runService({
    log,
    parts: [
      metricsServer({ ...config, log }),
      quotas.part,
      ...buildControlPlane({
        quotaStore: quotas.store,
        listen: config.listen,
        publicListen: config.publicListen,
        catalog,
        peers,
        security,
        issuer: security.issuer,
        masterSecret: config.masterSecret,
        operatorKey: config.operatorKey,
        proxy: {
          host: config.proxyHost,
          port: config.proxyPort,
          domain: config.endpointDomain,
          sslMode: config.sslMode,
        },
        limits: {
          agentDeadAfterMs: config.agentDeadAfterMs,
          wakeTimeoutMs: config.wakeTimeoutMs,
          startQueueLength: config.startQueueLength,
          startWaitMs: config.startWaitMs,
          unusedForMs: config.unusedForMs,
          recoveryWindowMs: config.recoveryWindowSeconds * 1000,
        },
        clock: systemClock,
        random: systemRandom,
        log,
      }),
    ],
  }),
);
