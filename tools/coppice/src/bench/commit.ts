import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stack, TestPostgres } from '@coppice/testing';
import { client17, pgbench, startPostgres, wake } from '@coppice/testing';
import { Problem } from '../problem';
import { adminUri } from './admin-uri';
import type { Figure } from './figures';
import { median } from './figures';
import { interleaved } from './pgbench-rate';
import { wholeMachine } from './whole-machine';

const CLIENTS = [1, 8, 32] as const;
const SECONDS = 8;
const RUNS = 3;
const SCALE = '20';
const RECEIVERS = 3;

/** pgbench TPC-B direct and through the proxy, beside stock Postgres with a quorum of three pg_receivewal; runs interleave. */
export async function benchCommit(stack: Stack): Promise<Figure[]> {
  const made = await stack.ask('POST', '/projects', {
    project: { name: 'bench-commit', default_endpoint_settings: wholeMachine() },
  });
  const uri: string = made.connection_uris[0].connection_uri;
  await pgbench(uri, '-i', '-s', SCALE, '-q');
  const direct = adminUri(await wake(stack, made.endpoints[0].id), 'neondb');
  const quorum = await QuorumBaseline.start();
  const figures: Figure[] = [];
  try {
    for (const clients of CLIENTS) {
      const samples = await interleaved({ stock: quorum.uri, direct, proxy: uri }, RUNS, {
        clients,
        seconds: SECONDS,
      });
      const baseline = median(samples.stock);
      for (const [way, floor] of [
        ['direct', 1.0],
        ['proxy', 0.8],
      ] as const) {
        const value = median(samples[way]);
        figures.push({ bench: 'commit', name: `${way} ${clients} clients`, value, unit: 'tps', baseline });
        figures.push({
          bench: 'commit',
          name: `${way} ${clients} clients, ratio`,
          value: value / baseline,
          unit: '×',
          target: { atLeast: floor },
        });
      }
    }
  } finally {
    await quorum.stop();
  }
  return figures;
}

/** Stock PostgreSQL whose commits wait for two of three synchronous WAL receivers. */
class QuorumBaseline {
  readonly uri: string;
  readonly #server: TestPostgres;
  readonly #receivers: ChildProcess[];
  readonly #directory: string;

  private constructor(server: TestPostgres, receivers: ChildProcess[], directory: string) {
    this.#server = server;
    this.#receivers = receivers;
    this.#directory = directory;
    this.uri = `postgresql://postgres@/postgres?host=${encodeURIComponent(server.socketDirectory)}&port=${server.port}`;
  }

  static async start(): Promise<QuorumBaseline> {
    const command = client17('pg_receivewal');
    if (!command)
      throw new Problem('the commit bench needs pg_receivewal 17: ./coppice test gets it, as root on Debian');
    const [program, ...leading] = command;
    const server = await startPostgres({
      settings: { fsync: 'off', full_page_writes: 'on', max_wal_senders: 10, shared_buffers: '128MB' },
    });
    const directory = mkdtempSync(join(tmpdir(), 'coppice-bench-'));
    const receivers: ChildProcess[] = [];
    const baseline = new QuorumBaseline(server, receivers, directory);
    await pgbench(baseline.uri, '-i', '-s', SCALE, '-q');
    const names = Array.from({ length: RECEIVERS }, (_, i) => `receiver${i}`);
    for (const name of names) {
      const target = mkdtempSync(join(directory, name));
      const conninfo = `host=${server.socketDirectory} port=${server.port} user=postgres application_name=${name}`;
      const args = ['-D', target, '--synchronous', '-d', conninfo, '--no-loop'];
      receivers.push(spawn(program, [...leading, ...args], { stdio: 'ignore' }));
    }
    await server.query(`alter system set synchronous_standby_names = 'ANY 2 (${names.join(', ')})'`);
    await server.query('select pg_reload_conf()');
    for (let i = 0; ; i += 1) {
      const [row] = await server.query<{ n: number }>(
        "select count(*)::int as n from pg_stat_replication where sync_state = 'quorum'",
      );
      if (row?.n === RECEIVERS) return baseline;
      if (i === 100) throw new Error('the WAL receivers of the baseline do not connect');
      await sleep(100);
    }
  }

  async stop(): Promise<void> {
    await this.#server.query('alter system reset synchronous_standby_names');
    for (const receiver of this.#receivers) receiver.kill();
    await this.#server.dispose();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
