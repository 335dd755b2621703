/** The REST gateway: HTTP in front of the control-plane's gRPC contracts. */
import { clientSecurityOf, connectPublic, controlContract, fleetContract } from '@coppice/contracts';
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
import { GATEWAY_CONFIG } from './config';
import { buildGateway, gatewayPart } from './server';

const log = createLog('gateway');
const config = readConfig(GATEWAY_CONFIG);
log.info(printConfig(GATEWAY_CONFIG, config), 'configuration');

const controlPlane = { address: config.controlPlane, security: clientSecurityOf(config) };
const control = connectPublic(controlContract, controlPlane);
const fleet = connectPublic(fleetContract, controlPlane);
const app = buildGateway({ control, fleet, log, random: systemRandom, clock: systemClock });

void runService({
  log,
  parts: [
    metricsServer({ ...config, log }),
    part(
      'control-plane clients',
      () => undefined,
      () => {
        control.close();
        fleet.close();
      },
    ),
    gatewayPart(app, { host: config.listenHost, port: config.listenPort }, log),
  ],
});
