import type { Stack } from '@coppice/testing';
import { pgbench, wake } from '@coppice/testing';
import { adminUri } from './admin-uri';
import type { Figure } from './figures';
import { median } from './figures';
import { Pgbouncer } from './pgbouncer';
import { interleaved } from './pgbench-rate';
import { wholeMachine } from './whole-machine';

/** The proxy has targets where it has company: one client alone measures the latency of two hops. */
const CLIENTS = [
  { clients: 1, target: undefined },
  { clients: 8, target: { atLeast: 0.7 } },
  { clients: 32, target: { atLeast: 0.7 } },
] as const;
const SECONDS = 6;
const ROUNDS = 5;
/** Fits the shared buffers: what passes bytes on is measured, not what reads them. */
const SCALE = '1';
const READS = ['-S'];
const DATABASE = 'neondb';

/** pgbench -S through the proxy, over plain TCP and over TLS, beside pgbouncer before the same compute and no hop at all. */
export async function benchProxy(stack: Stack): Promise<Figure[]> {
  const made = await stack.ask('POST', '/projects', {
    project: { name: 'bench-proxy', default_endpoint_settings: wholeMachine() },
  });
  const uri: string = made.connection_uris[0].connection_uri;
  await pgbench(uri, '-i', '-s', SCALE, '-q');
  const compute = await wake(stack, made.endpoints[0].id);
  const bouncer = await Pgbouncer.start(compute, DATABASE);
  const uris = {
    pgbouncer: bouncer.uri,
    proxy: withSslMode(uri, 'disable'),
    tls: withSslMode(uri, 'require'),
    direct: adminUri(compute, DATABASE),
  };
  try {
    const figures: Figure[] = [];
    for (const { clients, target } of CLIENTS) {
      const rates = await interleaved(uris, ROUNDS, { clients, seconds: SECONDS, script: READS });
      const baseline = median(rates.pgbouncer);
      const name = clients === 1 ? '1 client' : `${clients} clients`;
      // Of each round: what slows one round down slows all of it.
      const ratio = median(rates.proxy.map((rate, round) => rate / rates.pgbouncer[round]!));
      figures.push(
        { bench: 'proxy', name, value: median(rates.proxy), unit: 'tps', baseline },
        { bench: 'proxy', name: `${name}, ratio`, value: ratio, unit: '×', ...(target ? { target } : {}) },
        { bench: 'proxy', name: `${name}, TLS`, value: median(rates.tls), unit: 'tps', baseline },
        { bench: 'proxy', name: `${name}, no hop`, value: median(rates.direct), unit: 'tps', baseline },
      );
    }
    return figures;
  } finally {
    await bouncer.stop();
  }
}

function withSslMode(uri: string, mode: string): string {
  const url = new URL(uri);
  url.searchParams.set('sslmode', mode);
  return url.href;
}
