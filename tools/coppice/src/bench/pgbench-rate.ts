import { pgbench } from '@coppice/testing';

export interface PgbenchRun {
  readonly clients: number;
  readonly seconds: number;
  /** `-S`, for example; nothing: TPC-B. */
  readonly script?: readonly string[];
}

/** Transactions per second of pgbench with prepared statements. */
export async function pgbenchRate(
  uri: string,
  { clients, seconds, script = [] }: PgbenchRun,
): Promise<number> {
  const load = ['-c', String(clients), '-j', '2', '-T', String(seconds)];
  const output = await pgbench(uri, '-n', '-M', 'prepared', ...script, ...load);
  const match = /tps = ([0-9.]+)/.exec(output);
  if (!match) throw new Error(`pgbench printed no tps: ${output}`);
  return Number(match[1]);
}

/** Rates of several ways to the same work, `rounds` of each, taken in turn so that a noisy moment meets all of them. */
export async function interleaved<Way extends string>(
  uris: Readonly<Record<Way, string>>,
  rounds: number,
  run: PgbenchRun,
): Promise<Record<Way, number[]>> {
  const ways = Object.keys(uris) as Way[];
  const rates = Object.fromEntries(ways.map((way) => [way, [] as number[]])) as Record<Way, number[]>;
  for (let round = 0; round < rounds; round += 1)
    for (const way of ways) rates[way].push(await pgbenchRate(uris[way], run));
  return rates;
}
