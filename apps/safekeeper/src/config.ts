import { SECURITY_CONFIG } from '@coppice/contracts';
import { configTable, metricsConfig } from '@coppice/service-kit';

export const CONFIG = configTable({
  id: {
    env: 'COPPICE_SAFEKEEPER_ID',
    type: 'string',
    about: 'Name of this safekeeper, as memberships name it.',
  },
  address: {
    env: 'COPPICE_SAFEKEEPER_ADDRESS',
    type: 'string',
    about: 'gRPC address to listen on: unix:/path or host:port.',
  },
  data: { env: 'COPPICE_SAFEKEEPER_DATA', type: 'string', about: 'Directory that holds the WAL.' },
  maxLoaded: {
    env: 'COPPICE_SAFEKEEPER_MAX_LOADED',
    type: 'integer',
    min: 1,
    max: 15_000,
    default: 4_000,
    about: 'Timelines in memory at once; each has a file open.',
  },
  idleMs: {
    env: 'COPPICE_SAFEKEEPER_IDLE_MS',
    type: 'integer',
    min: 0,
    default: 60_000,
    about: 'Time without use after which a timeline leaves memory, milliseconds.',
  },
  tidyEveryMs: {
    env: 'COPPICE_SAFEKEEPER_TIDY_EVERY_MS',
    type: 'integer',
    min: 10,
    default: 1_000,
    about: 'How often commit positions are persisted and idle timelines put away, milliseconds.',
  },
  ...metricsConfig(7446),
  ...SECURITY_CONFIG,
});
