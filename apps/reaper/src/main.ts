/** The reaper: ends what has outlived its use. */
import { clientSecurityOf, connect, controlInternalContract } from '@coppice/contracts';
import {
  BackgroundLoop,
  createLog,
  part,
  printConfig,
  readConfig,
  runService,
  systemClock,
} from '@coppice/service-kit';
import { REAPER_CONFIG } from './config';
import { SweepIdleComputes } from './sweep-idle-computes';

const log = createLog('reaper');
const config = readConfig(REAPER_CONFIG);
log.info(printConfig(REAPER_CONFIG, config), 'configuration');

const control = connect(controlInternalContract, {
  address: config.controlPlane,
  security: clientSecurityOf(config),
});
const idle = new SweepIdleComputes({
  control,
  limits: config,
  dryRun: config.dryRun,
  clock: systemClock,
  log,
});
const loop = new BackgroundLoop({
  name: 'sweep-idle-computes',
  everyMs: config.sweepEveryMs,
  log,
  run: async (signal) => void (await idle.sweep(signal)),
});

void runService({
  log,
  parts: [
    part(
      'control-plane client',
      () => undefined,
      () => control.close(),
    ),
    part(
      'sweep-idle-computes',
      () => loop.start(),
      () => loop.stop(),
    ),
  ],
});
