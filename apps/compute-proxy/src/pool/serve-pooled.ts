import { ByteWriter } from '@coppice/bytes';
import { writeMessage } from '@coppice/postgres';
import type { Log } from '@coppice/service-kit';
import type { CancelKeys } from '../cancel/cancel-keys';
import type { ClientStream } from '../client-stream';
import { credentialEnded, lastWords } from '../last-words';
import type { LiveCredentials } from '../live-credentials';
import type { LoggedIn } from '../log-in';
import type { Running } from '../serve-direct';
import { APPLICATION_NAME, poolTarget } from './pool-target';
import { PooledSession } from './pooled-session';
import { type ReportedSettings, withSetting, writeSetting } from './reported-settings';
import type { ServerPool } from './server-pool';
import type { TargetServers } from './target-servers';

export interface PooledServices {
  readonly log: Log;
  readonly pool: ServerPool;
  readonly cancelKeys: Pick<CancelKeys, 'add'>;
  readonly liveCredentials: Pick<LiveCredentials, 'add'>;
}

/**
 * Resolves when the session runs; of a server it needs no more than what a session is greeted with. `life` is that of the client,
 * and ends with the credential as well.
 */
export async function servePooled(
  client: ClientStream,
  { role, endpoint, credential, route, parameters }: LoggedIn,
  { log, pool, cancelKeys, liveCredentials }: PooledServices,
  life: AbortController,
): Promise<Running> {
  const describe = (error: unknown): Buffer => lastWords(error, log);
  const applicationName = parameters.get(APPLICATION_NAME);
  const servers = pool.join(poolTarget(endpoint, credential, parameters, route));
  const { credentialId, expiresUnixMs } = servers.target;
  let session: PooledSession | undefined;
  let removeKey = (): void => undefined;
  const unwatch = liveCredentials.add({
    credentialId,
    expiresUnixMs,
    end: () => {
      const why = credentialEnded(role);
      life.abort(why);
      session?.end(describe(why));
    },
  });
  const leave = (): void => {
    removeKey();
    unwatch();
    pool.leave(servers);
  };
  try {
    let greeting = await greetingOf(pool, servers, life.signal);
    if (applicationName !== undefined) greeting = withSetting(greeting, APPLICATION_NAME, applicationName);
    life.signal.throwIfAborted();
    session = new PooledSession({
      client: client.socket,
      pool,
      servers,
      greeting,
      applicationName,
      describe,
    });
    const key = cancelKeys.add(session);
    removeKey = key.remove;
    client.write(
      Buffer.concat([
        ...[...greeting].map(([name, value]) => writeSetting(name, value)),
        writeMessage('K', new ByteWriter().u32be(key.pid).raw(key.secret).finish()),
        writeMessage('Z', Buffer.from('I')),
      ]),
    );
    return { over: session.run(client.takeBuffered()).finally(leave) };
  } catch (error) {
    leave();
    throw error;
  }
}

/** The first client of a target wakes its compute; those after it are greeted as it was. */
async function greetingOf(
  pool: ServerPool,
  servers: TargetServers,
  signal: AbortSignal,
): Promise<ReportedSettings> {
  if (!servers.greeting) {
    const server = pool.take(servers, undefined) ?? (await pool.wait(servers, undefined, signal));
    pool.giveBackUnused(server);
  }
  return servers.greeting!;
}
