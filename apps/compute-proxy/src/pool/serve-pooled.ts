import { ByteWriter } from '@coppice/bytes';
import { writeMessage } from '@coppice/postgres';
import type { CancelKeys } from '../cancel/cancel-keys';
import type { ClientStream } from '../client-stream';
import type { LiveCredentials } from '../live-credentials';
import { APPLICATION_NAME, type PoolTarget } from './pool-target';
import { PooledSession } from './pooled-session';
import { type ReportedSettings, withSetting, writeSetting } from './reported-settings';
import type { ServerPool } from './server-pool';
import type { TargetServers } from './target-servers';

export interface PooledServices {
  readonly pool: ServerPool;
  readonly cancelKeys: CancelKeys;
  readonly liveCredentials: Pick<LiveCredentials, 'add'>;
}

export interface PooledClient {
  readonly client: ClientStream;
  readonly target: PoolTarget;
  readonly applicationName: string | undefined;
  /** An error as a message for the client. */
  readonly describe: (error: unknown) => Buffer;
  /** What the client hears when its credential is over. */
  readonly credentialEnded: Error;
}

/** Serves an authenticated client until it is gone; of a server it needs no more than what a session is greeted with. */
export async function servePooled(
  { client, target, applicationName, describe, credentialEnded }: PooledClient,
  { pool, cancelKeys, liveCredentials }: PooledServices,
  signal: AbortSignal,
): Promise<void> {
  const servers = pool.join(target);
  const over = new AbortController();
  const { credentialId, expiresUnixMs } = target;
  const unwatch = liveCredentials.add({
    credentialId,
    expiresUnixMs,
    end: () => over.abort(credentialEnded),
  });
  let removeKey = (): void => undefined;
  try {
    let greeting = await greetingOf(pool, servers, AbortSignal.any([signal, over.signal]));
    if (applicationName !== undefined) greeting = withSetting(greeting, APPLICATION_NAME, applicationName);
    const session = new PooledSession({
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
    const end = (): void => session.end(describe(credentialEnded));
    over.signal.addEventListener('abort', end, { once: true });
    if (over.signal.aborted) end();
    await session.run(client.takeBuffered());
  } finally {
    removeKey();
    unwatch();
    pool.leave(servers);
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
