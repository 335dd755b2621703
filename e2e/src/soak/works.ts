/** What the clients of the soak do: every way through the front door, starts and suspends, forks and deletes. */
import { Client as SessionClient, neon, neonConfig } from '@neondatabase/serverless';
import { fork, type Json, sql, type Stack, withClient } from '@coppice/testing';
import { Pool } from 'pg';
import WebSocket from 'ws';
import type { Work } from './load';

const ROWS = 100;
/** One transaction that writes the same few pages again and again, so that what is held stays as large as it is. */
const WRITE = `update counters set n = n + 1 where id = 1 + floor(random() * ${ROWS})::int returning n`;
const READ = 'select count(*)::int as n from counters';

export interface Database {
  readonly project: string;
  readonly endpoint: string;
  readonly direct: string;
  readonly pooled: string;
}

/** A project with the table that all works on. */
export async function makeDatabase(stack: Stack, name: string): Promise<Database> {
  const made = await stack.ask('POST', '/projects', { project: { name } });
  const { connection_uri: direct, connection_parameters: parameters } = made.connection_uris[0];
  const query = new URLSearchParams({
    database_name: parameters.database,
    role_name: parameters.role,
    pooled: 'true',
  });
  const { uri } = await stack.ask('GET', `/projects/${made.project.id}/connection_uri?${query}`);
  await sql(
    direct,
    'create table counters (id int primary key, n bigint not null)',
    `insert into counters select i, 0 from generate_series(1, ${ROWS}) i`,
  );
  return { project: made.project.id, endpoint: made.endpoints[0].id, direct, pooled: uri };
}

/** Tells the driver of Neon where this stack is. */
export function pointDriverAt({ host, port }: Stack['file']['http']): void {
  neonConfig.fetchEndpoint = `http://${host}:${port}/sql`;
  neonConfig.wsProxy = () => `${host}:${port}/v2`;
  neonConfig.useSecureWebSocket = false;
  neonConfig.webSocketConstructor = WebSocket;
}

type Way = (statement: string) => Promise<Record<string, Json>[]>;

export interface Clients {
  readonly ways: Readonly<Record<'direct' | 'pooled' | 'http' | 'websocket', Way>>;
  /** How many pooled connections were lost. */
  readonly lost: () => number;
  readonly close: () => Promise<void>;
}

/** Of one database: a session each time, but for pooled ones, which are kept. */
export function clientsOf({ direct, pooled }: Database): Clients {
  const pool = new Pool({ connectionString: pooled, max: 3, idleTimeoutMillis: 0 });
  let lost = 0;
  pool.on('error', () => (lost += 1));
  const http = neon(direct);
  return {
    ways: {
      direct: (statement) => withClient(direct, async (client) => (await client.query(statement)).rows),
      pooled: async (statement) => (await pool.query(statement)).rows,
      http: (statement) => http.query(statement),
      websocket: async (statement) => {
        const client = new SessionClient(direct);
        await client.connect();
        try {
          return (await client.query(statement)).rows;
        } finally {
          await client.end();
        }
      },
    },
    lost: () => lost,
    close: () => pool.end(),
  };
}

/** Writes and reads over each way at a fixed pace. */
export function busyWorks({ ways }: Clients): Work[] {
  const both = (way: Way) => async (): Promise<void> => {
    await way(WRITE);
    expectRows(await way(READ));
  };
  return [
    { kind: 'direct', everyMs: 500, run: both(ways.direct) },
    { kind: 'pooled', everyMs: 250, run: both(ways.pooled) },
    { kind: 'http', everyMs: 250, run: both(ways.http) },
    { kind: 'websocket', everyMs: 500, run: both(ways.websocket) },
  ];
}

/** Suspends a database that nobody else uses and asks it over one way after the other: the time of the answer counts. */
export function wakeWork(stack: Stack, { project, endpoint }: Database, { ways }: Clients): Work {
  const inTurn = Object.values(ways);
  return {
    kind: 'wake',
    everyMs: 4_000,
    run: async (round) => {
      await stack.ask('POST', `/projects/${project}/endpoints/${endpoint}/suspend`);
      const from = performance.now();
      expectRows(await inTurn[round % inTurn.length]!(READ));
      return performance.now() - from;
    },
  };
}

/** A branch of a busy database, from its making to its end; the time until it has answered counts. */
export function forkWork(stack: Stack, { project }: Database): Work {
  return {
    kind: 'fork',
    everyMs: 8_000,
    run: async (round) => {
      const from = performance.now();
      const branch = await fork(stack, project, { name: `soak-${round}` });
      expectRows(await sql(branch.uri, WRITE, READ));
      const took = performance.now() - from;
      await stack.ask('DELETE', `/projects/${project}/branches/${branch.id}`);
      return took;
    },
  };
}

function expectRows(rows: readonly Record<string, Json>[]): void {
  if (rows[0]?.['n'] !== ROWS) throw new Error(`${ROWS} rows expected, found ${JSON.stringify(rows)}`);
}
