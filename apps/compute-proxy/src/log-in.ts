/** From the startup packet to a client that is in: which endpoint, which credential, and whether there is room for one more. */
import { Auth, PROTOCOL_3_0, writeAuthentication, writeNegotiateProtocol } from '@coppice/postgres';
import type { Login } from '@coppice/contracts';
import { CoppiceError, type Random } from '@coppice/service-kit';
import {
  type Authenticated,
  authenticateByScram,
  authenticateInClear,
  type AuthenticateOptions,
  WRONG_PASSWORD,
} from './authenticate';
import type { ClientStream } from './client-stream';
import type { Startup } from './first-packets';
import type { GuessLimit } from './limits/guess-limit';
import type { LoginLimits } from './limits/login-limits';
import { type Route, routeOf } from './route';

export interface LoginServices {
  readonly random: Random;
  readonly limits: LoginLimits;
  readonly guesses: GuessLimit;
  readonly mockSecret: Buffer;
  readonly lookUpLogin: (
    endpoint: string,
    role: string,
    database: string,
    signal: AbortSignal,
  ) => Promise<Login>;
}

export interface LoggedIn extends Authenticated {
  /** The role that the client named. */
  readonly role: string;
  readonly route: Route;
  /** Of the startup packet, as they go to the server. */
  readonly parameters: Map<string, string>;
  /** To be called when the client is gone. */
  readonly leave: () => void;
}

/** Authenticates; the client has heard that it is in. `signal` ends what is asked on its behalf. */
export async function logIn(
  client: ClientStream,
  startup: Startup,
  services: LoginServices,
  signal: AbortSignal,
): Promise<LoggedIn> {
  const role = roleOf(startup.parameters);
  const unknownOptions = [...startup.parameters.keys()].filter((name) => name.startsWith('_pq_.'));
  if (startup.version !== PROTOCOL_3_0 || unknownOptions.length > 0)
    client.write(writeNegotiateProtocol(unknownOptions));
  const database = startup.parameters.get('database') || role;
  const route = routeOf(startup.serverName, startup.parameters.get('options'));
  let agentId = '';
  let guesser = '';
  const auth: AuthenticateOptions = {
    client,
    role,
    random: services.random,
    mockSecret: services.mockSecret,
    serverEndPoint: startup.tls?.serverEndPoint,
    lookUp: async (endpoint) => {
      services.limits.login(endpoint, startup.address);
      guesser = `${startup.address} ${endpoint} ${role}`;
      // Looked at before, taken after: many who know the password may be on their way in at once.
      services.guesses.take(guesser)();
      const login = await services.lookUpLogin(endpoint, role, database, signal);
      agentId = login.agentId;
      return login;
    },
  };
  const who = await authenticate(auth, route, startup).catch((error: unknown) => {
    if (error instanceof CoppiceError && error.code === WRONG_PASSWORD) services.guesses.take(guesser);
    throw error;
  });
  const leave = services.limits.enter(who.endpoint, agentId);
  client.write(writeAuthentication(Auth.ok));
  startup.arrival?.loggedIn();

  const parameters = new Map(
    [...startup.parameters].filter(([name]) => name !== 'options' && !name.startsWith('_pq_.')),
  );
  parameters.set('user', who.credential.connectAs);
  parameters.set('database', database);
  if (route.options !== undefined) parameters.set('options', route.options);
  return { ...who, role, route, parameters, leave };
}

async function authenticate(
  options: AuthenticateOptions,
  { endpoint, pooled }: Route,
  { arrival }: Startup,
): Promise<Authenticated> {
  const named = endpoint === undefined ? undefined : { endpoint, pooled };
  if (named === undefined || arrival) return authenticateInClear(options, named);
  return { ...named, credential: await authenticateByScram(named.endpoint, options) };
}

const NO: ReadonlySet<string> = new Set(['false', 'off', 'no', '0']);

function roleOf(parameters: ReadonlyMap<string, string>): string {
  const role = parameters.get('user');
  if (!role)
    throw new CoppiceError('Malformed', 'no-user', 'no PostgreSQL user name specified in startup packet');
  const replication = parameters.get('replication');
  if (replication && !NO.has(replication))
    throw new CoppiceError(
      'Forbidden',
      'replication-not-offered',
      'replication connections are not offered here',
      { remedy: 'Connect without the replication parameter.' },
    );
  return role;
}
