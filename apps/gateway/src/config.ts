import { CLIENT_SECURITY_CONFIG } from '@coppice/contracts';
import { configTable, metricsConfig } from '@coppice/service-kit';

export const GATEWAY_CONFIG = configTable({
  listenHost: {
    env: 'COPPICE_GATEWAY_HOST',
    type: 'string',
    default: '127.0.0.1',
    about: 'address to listen on',
  },
  listenPort: {
    env: 'COPPICE_GATEWAY_PORT',
    type: 'integer',
    default: 7400,
    min: 0,
    max: 65535,
    about: 'port to listen on; 0 picks one',
  },
  controlPlane: {
    env: 'COPPICE_CONTROL_ADDRESS',
    type: 'string',
    about: 'gRPC address of the control-plane',
  },
  ...metricsConfig(7440),
  ...CLIENT_SECURITY_CONFIG,
});
