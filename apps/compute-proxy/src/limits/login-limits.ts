/**
 * How many clients an endpoint and an agent may have here, and how fast clients may log in. All of it is this proxy's own count:
 * with several proxies each allows as much. What it remembers is bounded; of too many addresses the longest known are forgotten,
 * which gives them a full bucket again.
 */
import { bucketOf } from '@coppice/quotas';
import { type Clock, CoppiceError, Counter } from '@coppice/service-kit';
import { TokenBuckets } from './token-buckets';

const refused = new Counter({
  name: 'coppice_proxy_refused_logins_total',
  help: 'Logins that were refused because of a limit, by limit.',
  labelNames: ['limit'],
});

/** Buckets that are remembered, of each kind. */
const MOST_BUCKETS = 50_000;
/** Seconds' worth of tokens in a full bucket. */
const BURST_SECONDS = 10;
const TOO_MANY_CONNECTIONS = '53300';

export interface LoginLimitsConfig {
  readonly endpointConnections: number;
  readonly agentConnections: number;
  /** Per second, as the next. */
  readonly endpointLogins: number;
  readonly addressLogins: number;
}

export class LoginLimits {
  readonly #config: LoginLimitsConfig;
  readonly #endpoints = new Map<string, number>();
  readonly #agents = new Map<string, number>();
  readonly #byEndpoint: TokenBuckets;
  readonly #byAddress: TokenBuckets;

  constructor(config: LoginLimitsConfig, clock: Clock) {
    this.#config = config;
    const perSecond = (rate: number): TokenBuckets =>
      new TokenBuckets({ bucket: bucketOf(rate, rate * BURST_SECONDS)!, most: MOST_BUCKETS, clock });
    this.#byEndpoint = perSecond(config.endpointLogins);
    this.#byAddress = perSecond(config.addressLogins);
  }

  /** A client at `address` is about to log in; throws when there were too many before it. */
  login(endpoint: string, address: string): void {
    const ofAddress = this.#byAddress.take(address);
    if (ofAddress > 0) throw tooFast('address', `logins from ${address}`, ofAddress);
    const ofEndpoint = this.#byEndpoint.take(endpoint);
    if (ofEndpoint > 0) throw tooFast('endpoint', `logins to endpoint ${endpoint}`, ofEndpoint);
  }

  /** Whether a client at `address` may have another proxy asked to cancel something; as often as it may log in. */
  passOn(address: string): boolean {
    return this.#byAddress.take(address) === 0;
  }

  /** A client is in, until the answer is called; throws when there are as many as may be. */
  enter(endpoint: string, agentId: string): () => void {
    const { endpointConnections, agentConnections } = this.#config;
    if ((this.#endpoints.get(endpoint) ?? 0) >= endpointConnections)
      throw tooMany(
        'endpoint connections',
        `endpoint ${endpoint} has ${endpointConnections} connections already`,
      );
    if ((this.#agents.get(agentId) ?? 0) >= agentConnections)
      throw tooMany(
        'agent connections',
        `the agent's endpoints have ${agentConnections} connections already`,
      );
    count(this.#endpoints, endpoint, 1);
    count(this.#agents, agentId, 1);
    return () => {
      count(this.#endpoints, endpoint, -1);
      count(this.#agents, agentId, -1);
    };
  }
}

function count(counts: Map<string, number>, name: string, more: number): void {
  const now = (counts.get(name) ?? 0) + more;
  if (now === 0) counts.delete(name);
  else counts.set(name, now);
}

function tooFast(limit: string, what: string, retryAfterMs: number): CoppiceError {
  refused.inc({ limit });
  return new CoppiceError('QuotaExceeded', 'login-rate-exceeded', `too many ${what}`, {
    remedy: `Try again in ${Math.ceil(retryAfterMs / 1000)} s; keep connections open, or use the pooled host, rather than connecting anew.`,
  });
}

function tooMany(limit: string, what: string): CoppiceError {
  refused.inc({ limit });
  return new CoppiceError('QuotaExceeded', 'too-many-connections', `sorry, ${what}`, {
    remedy: 'Close idle connections and try again.',
    sqlstate: TOO_MANY_CONNECTIONS,
  });
}
