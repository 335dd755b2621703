import { openCatalog } from '@coppice/catalog';
import {
  createLog,
  printConfig,
  readConfig,
  runService,
  systemClock,
  systemRandom,
} from '@coppice/service-kit';
import { buildControlPlane } from './build-control-plane';
import { CONTROL_PLANE_CONFIG } from './config';
import { Peers } from './peers';

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
const peers = new Peers({ safekeepers: config.safekeepers, pageserver: config.pageserver });

void runService({
  log,
  parts: buildControlPlane({
    listen: config.listen,
    catalog,
    peers,
    masterSecret: config.masterSecret,
    operatorKey: config.operatorKey,
    proxy: {
      host: config.proxyHost,
      port: config.proxyPort,
      domain: config.endpointDomain,
      sslMode: config.sslMode,
    },
    limits: { agentDeadAfterMs: config.agentDeadAfterMs, wakeTimeoutMs: config.wakeTimeoutMs },
    clock: systemClock,
    random: systemRandom,
    log,
  }),
});
