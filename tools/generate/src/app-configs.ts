import type { ConfigTable } from '@coppice/service-kit';
import { AGENT_CONFIG } from '../../../apps/compute-agent/src/config';
import { CONFIG as PROXY_CONFIG } from '../../../apps/compute-proxy/src/config';
import { CONTROL_PLANE_CONFIG } from '../../../apps/control-plane/src/config';
import { GATEWAY_CONFIG } from '../../../apps/gateway/src/config';
import { CONFIG as PAGESERVER_CONFIG } from '../../../apps/pageserver/src/config';
import { REAPER_CONFIG } from '../../../apps/reaper/src/config';
import { CONFIG as SAFEKEEPER_CONFIG } from '../../../apps/safekeeper/src/config';

/** The settings of every app, by its name. */
export const APP_CONFIGS: Readonly<Record<string, ConfigTable>> = {
  'compute-agent': AGENT_CONFIG,
  'compute-proxy': PROXY_CONFIG,
  'control-plane': CONTROL_PLANE_CONFIG,
  gateway: GATEWAY_CONFIG,
  pageserver: PAGESERVER_CONFIG,
  reaper: REAPER_CONFIG,
  safekeeper: SAFEKEEPER_CONFIG,
};
