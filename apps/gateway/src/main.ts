/** The REST gateway: HTTP in front of the control-plane's gRPC contract. */
import { clientSecurityOf, connectPublic, controlContract } from '@coppice/contracts';
import { createLog, part, printConfig, readConfig, runService, systemRandom } from '@coppice/service-kit';
import { GATEWAY_CONFIG } from './config';
import { buildGateway, gatewayPart } from './server';

const log = createLog('gateway');
const config = readConfig(GATEWAY_CONFIG);
log.info(printConfig(GATEWAY_CONFIG, config), 'configuration');

const control = connectPublic(controlContract, {
  address: config.controlPlane,
  security: clientSecurityOf(config),
});
const app = buildGateway({ control, log, random: systemRandom });

void runService({
  log,
  parts: [
    part(
      'control-plane client',
      () => undefined,
      () => control.close(),
    ),
    gatewayPart(app, { host: config.listenHost, port: config.listenPort }, log),
  ],
});
