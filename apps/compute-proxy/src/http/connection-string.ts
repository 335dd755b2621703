/**
 * The `Neon-Connection-String` header: who wants to reach which database of which endpoint. The endpoint is the first label of the
 * host or, where hosts are addresses, `endpoint=<id>` within `options` or before the password, as everywhere.
 */
import { CoppiceError } from '@coppice/service-kit';
import { routeOf, splitPassword } from '../route';
import type { Opening } from '../when';

export interface Target {
  readonly endpoint: string;
  readonly role: string;
  readonly password: string;
  readonly database: string;
  readonly opening: Opening;
  /** For the server: `options` without what was meant for the proxy, `application_name` and settings. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** What no session may set, since values are read as UTF-8 text and the rest is told apart from the URL itself. */
const NOT_PASSED = new Set(['user', 'database', 'password', 'options', 'replication', 'client_encoding']);
/** Of libpq, for the client alone. */
const CLIENT_SIDE =
  /^(?:ssl.*|channel_binding|require_auth|gssencmode|target_session_attrs|connect_timeout|uselibpqcompat|pgbouncer|pool_.*|connection_limit|host.*|port)$/;

function refused(message: string, remedy?: string): CoppiceError {
  return new CoppiceError('Malformed', 'bad-connection-string', message, remedy ? { remedy } : {});
}

function decoded(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refused(`invalid ${what}: it is not URL-encoded UTF-8`);
  }
}

export function readConnectionString(header: string | undefined): Target {
  if (header === undefined || header === '') throw refused('invalid header: neon-connection-string');
  if (!/^postgres(?:ql)?:\/\//.test(header))
    throw refused('incorrect scheme', 'The connection string begins with postgresql://.');
  let url: URL;
  try {
    // Of schemes that it does not know, URL reads hosts in another way.
    url = new URL(header.replace(/^[a-z]+:/, 'http:'));
  } catch (error) {
    throw refused(`invalid connection string: ${(error as Error).message}`);
  }
  const role = decoded(url.username, 'username');
  if (role === '') throw refused('missing username');
  const password = decoded(url.password, 'password');
  if (password === '') throw refused('missing authentication credentials: required password');
  const database = decoded(url.pathname.slice(1).split('/')[0]!, 'database name');
  if (database === '') throw refused('missing database name');
  const given = new Map(url.searchParams);
  const { endpoint, options, when, readOnly } = routeOf(url.hostname, given.get('options'));
  const parameters = new Map(
    [...given].filter(
      ([name]) => !NOT_PASSED.has(name) && !CLIENT_SIDE.test(name) && /^[a-z_.]+$/i.test(name),
    ),
  );
  if (options !== undefined) parameters.set('options', options);
  for (const text of [role, database, ...parameters.values()])
    if (text.includes('\0')) throw refused('invalid connection string: it holds a NUL character');
  // Pools that send queries over HTTP leave the options out: then it comes with the password, as on the other ways in.
  const named = endpoint === undefined ? splitPassword(password) : { endpoint, password };
  return { ...named, role, database, opening: { when, readOnly }, parameters };
}
