/** safekeeper: one acceptor of the WAL quorum. Keeps the WAL of many timelines, serves what is committed. */
import { grpcServer, securityOf } from '@coppice/contracts';
import {
  BackgroundLoop,
  CoppiceError,
  createLog,
  metricsServer,
  part,
  printConfig,
  readConfig,
  runService,
  systemClock,
} from '@coppice/service-kit';
import { parseNodeId } from '@coppice/vocabulary';
import { CONFIG } from './config';
import { safekeeperService } from './server/safekeeper-service';
import { Timelines } from './timelines/timelines';

const config = readConfig(CONFIG);
const log = createLog('safekeeper');
log.info({ config: printConfig(CONFIG, config) }, 'starts');
const node = parseNodeId(config.id);
if (!node)
  throw new CoppiceError(
    'Malformed',
    'bad-configuration',
    `COPPICE_SAFEKEEPER_ID=${config.id} is not a node id`,
  );

const timelines = new Timelines({
  node,
  data: config.data,
  maxLoaded: config.maxLoaded,
  idleMs: config.idleMs,
  clock: systemClock,
  log,
});
const tidying = new BackgroundLoop({
  name: 'tidy',
  everyMs: config.tidyEveryMs,
  log,
  run: () => timelines.tidy(),
});

void runService({
  log,
  parts: [
    metricsServer({ ...config, log }),
    part(
      'timelines',
      () => undefined,
      () => timelines.close(),
    ),
    part(
      'tidying',
      () => tidying.start(),
      () => tidying.stop(),
    ),
    grpcServer({
      address: config.address,
      services: [safekeeperService(timelines, systemClock)],
      log,
      security: securityOf(config, 'safekeeper'),
    }),
  ],
});
