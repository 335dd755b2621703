import type { Stack, TestPostgres } from '@coppice/testing';
import { asAdmin, pgbench, startPostgres, wake } from '@coppice/testing';
import type { Figure } from './figures';
import { median } from './figures';
import { adminUri } from './admin-uri';
import { interleaved } from './pgbench-rate';
import { wholeMachine } from './whole-machine';

const CLIENTS = [1, 8, 32] as const;
const SECONDS = 6;
const ROUNDS = 5;
/** Larger than the shared buffers, so that blocks are read from the files as well. */
const SCALE = '20';
const READS = ['-S'];

/** What belongs to one server alone, or is there only for the walproposer. */
const OWN_SETTINGS = new Set([
  'data_directory',
  'config_file',
  'hba_file',
  'ident_file',
  'external_pid_file',
  'port',
  'listen_addresses',
  'unix_socket_directories',
  'unix_socket_permissions',
  'synchronous_standby_names',
]);

/** pgbench -S over a Unix socket, everything it reads local: a compute beside a stock server with the same settings. */
export async function benchReadWarm(stack: Stack): Promise<Figure[]> {
  const made = await stack.ask('POST', '/projects', {
    project: { name: 'bench-read-warm', default_endpoint_settings: wholeMachine() },
  });
  const endpoint: string = made.endpoints[0].id;
  await pgbench(made.connection_uris[0].connection_uri, '-i', '-s', SCALE, '-q');
  const stock = await startPostgres({ settings: await settingsOf(stack, endpoint) });
  try {
    const uris = { direct: adminUri(await wake(stack, endpoint), 'neondb'), stock: stockUri(stock) };
    await pgbench(uris.stock, '-i', '-s', SCALE, '-q');
    // Both read every block once, and are done with the writes of the making.
    for (const uri of Object.values(uris)) await warm(uri);
    const figures: Figure[] = [];
    for (const clients of CLIENTS) {
      const rates = await interleaved(uris, ROUNDS, { clients, seconds: SECONDS, script: READS });
      const baseline = median(rates.stock);
      const value = median(rates.direct);
      const name = `direct ${clients} ${clients === 1 ? 'client' : 'clients'}`;
      // Of each round: what slows one round down slows both of its halves.
      const ratio = median(rates.direct.map((rate, round) => rate / rates.stock[round]!));
      figures.push(
        { bench: 'read-warm', name, value, unit: 'tps', baseline },
        { bench: 'read-warm', name: `${name}, ratio`, value: ratio, unit: '×', target: { atLeast: 0.97 } },
      );
    }
    return figures;
  } finally {
    await stock.dispose();
  }
}

/** The settings that the compute's configuration files give. */
function settingsOf(stack: Stack, endpoint: string): Promise<Record<string, string>> {
  return asAdmin(stack, endpoint, 'postgres', async (client) => {
    const { rows } = await client.query<{ name: string; setting: string }>(
      "select name, current_setting(name) as setting from pg_settings where source = 'configuration file'",
    );
    return Object.fromEntries(
      rows.filter(({ name }) => !OWN_SETTINGS.has(name)).map(({ name, setting }) => [name, setting]),
    );
  });
}

function stockUri(server: TestPostgres): string {
  return `postgresql://postgres@/postgres?host=${encodeURIComponent(server.socketDirectory)}&port=${server.port}`;
}

async function warm(uri: string): Promise<void> {
  await pgbench(uri, '-n', '-S', '-c', '2', '-T', '2');
}
