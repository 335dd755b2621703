/** The reaper: ends what has outlived its use. Each kind has a sweep of its own, so that none holds up another. */
import { clientSecurityOf, connect, controlInternalContract } from '@coppice/contracts';
import {
  BackgroundLoop,
  createLog,
  metricsServer,
  part,
  type Part,
  printConfig,
  readConfig,
  runService,
  systemClock,
} from '@coppice/service-kit';
import { REAPER_CONFIG } from './config';
import { Sweep, type Sweepable } from './sweep';
import { dueInMetadata, idleComputes, METADATA_KINDS, orphanedObjects } from './sweepables';

const log = createLog('reaper');
const config = readConfig(REAPER_CONFIG);
log.info(printConfig(REAPER_CONFIG, config), 'configuration');

const control = connect(controlInternalContract, {
  address: config.controlPlane,
  security: clientSecurityOf(config),
});

const { dryRun, brakePercent, brakeFloor, brakeHoldMs } = config;
const brake = { brakePercent, brakeFloor, brakeHoldMs };
const suspending = { perSweep: config.perSweep, perMinute: config.perMinute, ...brake };
/** Timelines follow from what was let go before, so that however many are due tells nothing. */
const FOLLOWS: ReadonlySet<string> = new Set(['deleted-timeline']);
const ending = { perSweep: config.endPerSweep, perMinute: config.endPerMinute, ...brake };

function sweeping(what: Sweepable, limits: typeof ending, everyMs: number): Part {
  const sweep = new Sweep({ what, limits, dryRun, clock: systemClock, log });
  const loop = new BackgroundLoop({
    name: `sweep-${what.kind}`,
    everyMs,
    log,
    run: async (signal) => void (await sweep.run(signal)),
  });
  return part(
    `sweep-${what.kind}`,
    () => loop.start(),
    () => loop.stop(),
  );
}

void runService({
  log,
  parts: [
    metricsServer({ ...config, log }),
    part(
      'control-plane client',
      () => undefined,
      () => control.close(),
    ),
    sweeping(idleComputes(control), suspending, config.sweepEveryMs),
    ...METADATA_KINDS.map((kind) =>
      sweeping(
        dueInMetadata(control, kind),
        FOLLOWS.has(kind) ? { ...ending, brakeFloor: Infinity } : ending,
        config.endEveryMs,
      ),
    ),
    sweeping(orphanedObjects(control, config.endPerSweep), ending, config.orphansEveryMs),
  ],
});
