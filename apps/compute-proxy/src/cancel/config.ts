import { configTable } from '@coppice/service-kit';

/** Settings of a proxy beside others. */
export const PEERS_CONFIG = configTable({
  redisUrl: {
    env: 'COPPICE_REDIS_URL',
    type: 'secret',
    default: '',
    about:
      'Redis by which proxies find each other, so that a request to cancel may come in at any of them; empty: only at the one that serves the session.',
  },
  peerAddress: {
    env: 'COPPICE_PROXY_PEER_ADDRESS',
    type: 'string',
    default: '',
    about:
      'Where this proxy listens to others, unix:/path or host:port, as they reach it; needed with, and only with, a Redis.',
  },
});
