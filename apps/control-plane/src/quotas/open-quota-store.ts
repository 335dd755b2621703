/** Where counters of agents live: in Redis, which several control-planes share, or in this process when it is the only one. */
import { EmbeddedQuotaStore, type QuotaStore, RedisConnection, RedisQuotaStore } from '@coppice/leases';
import { type Clock, type Log, part, type Part } from '@coppice/service-kit';

export interface OpenQuotaStore {
  readonly store: QuotaStore;
  readonly part: Part;
}

/** With an empty `url` the counters are in this process; they are counted anew after a restart. */
export async function openQuotaStore(url: string, log: Log, clock: Clock): Promise<OpenQuotaStore> {
  if (url === '')
    return {
      store: new EmbeddedQuotaStore(clock),
      part: part(
        'quota counters',
        () => undefined,
        () => undefined,
      ),
    };
  const redis = await RedisConnection.open({ url, log });
  return {
    store: new RedisQuotaStore(redis),
    part: part(
      'quota counters',
      () => undefined,
      () => redis.close(),
    ),
  };
}
