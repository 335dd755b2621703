import type { ConnectionUriModel } from '@coppice/contracts';
import type { EndpointId } from '@coppice/vocabulary';

/** Where clients reach the proxy. */
export interface ProxyAddress {
  readonly host: string;
  readonly port: number;
  /** Endpoints are named `<endpoint>.<domain>`; empty: clients name the endpoint in the connection options instead. */
  readonly domain: string;
  /** Put into connection strings; empty leaves it to the client. */
  readonly sslMode: string;
}

const POSTGRES_PORT = 5432;

/** The host under which an endpoint is shown: with a port that is not Postgres's own, because clients put it into URLs as it is. */
export function endpointHost(proxy: ProxyAddress, endpoint: EndpointId, pooled = false): string {
  const name = proxy.domain === '' ? proxy.host : `${endpoint}${pooled ? '-pooler' : ''}.${proxy.domain}`;
  return proxy.port === POSTGRES_PORT ? name : `${name}:${proxy.port}`;
}

export interface ConnectAs {
  readonly endpoint: EndpointId;
  readonly database: string;
  readonly role: string;
  readonly password: string;
  readonly pooled: boolean;
}

/** A connection string that works at once with psql and drivers. */
export function connectionUri(proxy: ProxyAddress, to: ConnectAs): ConnectionUriModel {
  const host = endpointHost(proxy, to.endpoint, to.pooled);
  const options = new URLSearchParams();
  if (proxy.domain === '') options.set('options', `endpoint=${to.endpoint}${to.pooled ? '-pooler' : ''}`);
  if (proxy.sslMode !== '') options.set('sslmode', proxy.sslMode);
  const query = options.toString();
  const authority = `${encodeURIComponent(to.role)}:${encodeURIComponent(to.password)}@${host}`;
  return {
    uri: `postgresql://${authority}/${encodedPath(to.database)}${query === '' ? '' : `?${query}`}`,
    database: to.database,
    role: to.role,
    password: to.password,
    host,
    poolerHost: endpointHost(proxy, to.endpoint, true),
  };
}

/** Only what the path would end at is encoded besides what no URI may hold: node-postgres decodes no more than `encodeURI` encodes. */
function encodedPath(database: string): string {
  return encodeURI(database).replace(/[/?#]/g, encodeURIComponent);
}
