/** The line in which transactions stand that found no server connection: first come, first served. */
import { after, CoppiceError, Gauge } from '@coppice/service-kit';
import type { PooledServer } from './pooled-server';
import type { TargetServers, Waiter } from './target-servers';

const waiting = new Gauge({
  name: 'coppice_proxy_pool_waiting',
  help: 'Transactions that wait for a pooled server connection.',
});
export const SQLSTATE_TOO_MANY = '53300';

export interface Place {
  readonly signal: AbortSignal;
  /** Not counted while a compute that could serve it is being woken, milliseconds. */
  readonly waitTimeoutMs: number;
  /** Called when it is left without a connection. */
  readonly left: () => void;
}

/** Resolves with the connection that it is granted. Rejects when time is up, when it is refused, or when the signal fires. */
export function standInLine(
  servers: TargetServers,
  owner: object | undefined,
  { signal, waitTimeoutMs, left }: Place,
): Promise<PooledServer> {
  const { endpoint } = servers;
  return new Promise<PooledServer>((resolve, reject) => {
    let stopTimer = after(waitTimeoutMs, () => onTime());
    const settle = (): void => {
      endpoint.waiters.delete(waiter);
      servers.waiters.delete(waiter);
      waiting.dec();
      stopTimer();
      signal.removeEventListener('abort', onAbort);
    };
    const refuse = (error: unknown): void => {
      settle();
      left();
      reject(error);
    };
    const onAbort = (): void => refuse(signal.reason);
    const onTime = (): void => {
      if ([...endpoint.targets].some((target) => target.isWaking)) stopTimer = after(waitTimeoutMs, onTime);
      else refuse(exhausted(`no pooled connection came free within ${waitTimeoutMs} ms`));
    };
    const waiter: Waiter = {
      servers,
      owner,
      grant: (server) => {
        settle();
        resolve(server.assign(owner));
      },
      refuse,
    };
    endpoint.waiters.add(waiter);
    servers.waiters.add(waiter);
    waiting.inc();
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

export function exhausted(message: string): CoppiceError {
  return new CoppiceError('Unavailable', 'pool-exhausted', message, {
    sqlstate: SQLSTATE_TOO_MANY,
    remedy: 'Keep transactions short, use fewer clients at once, or try again.',
  });
}
