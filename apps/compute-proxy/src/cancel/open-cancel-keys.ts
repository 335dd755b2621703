import { grpcServer, type SECURITY_CONFIG, securityOf } from '@coppice/contracts';
import { RedisConnection, RedisLeaseStore } from '@coppice/leases';
import {
  type Config,
  CoppiceError,
  type Log,
  type Part,
  systemClock,
  systemRandom,
} from '@coppice/service-kit';
import type { LoginLimits } from '../limits/login-limits';
import { CancelKeys } from './cancel-keys';
import { cancelService } from './cancel-service';
import type { PEERS_CONFIG } from './config';
import { PeerProxies } from './peer-proxies';

export interface OpenCancelKeys {
  readonly keys: CancelKeys;
  /** The server for other proxies comes before they hear of it. */
  readonly parts: readonly Part[];
}

export interface OpenCancelKeysOptions {
  readonly config: Config<typeof PEERS_CONFIG & typeof SECURITY_CONFIG>;
  readonly limits: LoginLimits;
  readonly log: Log;
}

/** Keys of this proxy alone, or of one among others. Throws `Malformed` when only half of what that needs is configured. */
export function openCancelKeys({ config, limits, log }: OpenCancelKeysOptions): OpenCancelKeys {
  const { redisUrl, peerAddress } = config;
  if (redisUrl === '' && peerAddress === '') return { keys: new CancelKeys(systemRandom), parts: [] };
  if (redisUrl === '' || peerAddress === '')
    throw new CoppiceError(
      'Malformed',
      'bad-configuration',
      `${redisUrl === '' ? 'COPPICE_REDIS_URL' : 'COPPICE_PROXY_PEER_ADDRESS'} is empty and the other is not`,
      { remedy: 'Set both for several proxies, none for one.' },
    );
  const security = securityOf(config, 'compute-proxy');
  const peers = new PeerProxies({
    openLeases: async () => {
      const redis = await RedisConnection.open({ url: redisUrl, log });
      return { store: new RedisLeaseStore(redis), close: () => redis.close() };
    },
    address: peerAddress,
    security,
    limits,
    random: systemRandom,
    clock: systemClock,
    log,
  });
  const keys = new CancelKeys(systemRandom, peers);
  const server = grpcServer({ address: peerAddress, services: [cancelService(keys)], log, security });
  return { keys, parts: [server, peers.asPart()] };
}
