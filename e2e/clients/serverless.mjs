// Sessions of an unmodified @neondatabase/serverless and of Drizzle on it, in a process of its own: one JSON object of results.
import { Client, neon, neonConfig, Pool } from '@neondatabase/serverless';
import { eq, sql as text } from 'drizzle-orm';
import { drizzle as drizzleHttp } from 'drizzle-orm/neon-http';
import { drizzle as drizzleSessions } from 'drizzle-orm/neon-serverless';
import { integer, jsonb, pgTable, serial, timestamp } from 'drizzle-orm/pg-core';
import { text as column } from 'drizzle-orm/pg-core';
import WebSocket from 'ws';

const { DATABASE_URL: uri, SQL_ADDRESS: address } = process.env;
neonConfig.fetchEndpoint = `http://${address}/sql`;
neonConfig.wsProxy = () => `${address}/v2`;
neonConfig.useSecureWebSocket = false;
neonConfig.webSocketConstructor = WebSocket;
const out = {};

const sql = neon(uri);
await sql`create table posts (id serial primary key, title text not null unique, tags text[], seen timestamptz, more jsonb)`;
const [post] =
  await sql`insert into posts (title, tags, more) values (${'one'}, ${['a', 'b "c"']}, ${{ x: [1] }}) returning *`;
out.template = post;
out.arrays = await sql.query('select $1::int + 1, $2::text', [1, null], { arrayMode: true });
const full = await neon(uri, { fullResults: true })`select count(*)::int as n from posts`;
out.full = {
  command: full.command,
  rowCount: full.rowCount,
  rows: full.rows,
  field: full.fields[0].dataTypeID,
};
out.error = await sql`insert into posts (title) values ('one')`.catch(
  ({ code, constraint, table, severity }) => ({
    code,
    constraint,
    table,
    severity,
  }),
);
out.transaction = await sql.transaction([sql`show transaction_isolation`, sql`show transaction_read_only`], {
  isolationLevel: 'RepeatableRead',
  readOnly: true,
});
out.rolledBack = await sql
  .transaction([sql`insert into posts (title) values ('two')`, sql`select 1 / 0`])
  .catch(({ code }) => code);

const pool = new Pool({ connectionString: uri });
const client = await pool.connect();
await client.query('begin');
await client.query('update posts set title = $1', ['changed']);
out.within = (await client.query('select title from posts')).rows;
await client.query('rollback');
client.release();
out.after = (await pool.query('select title from posts')).rows;
const listener = new Client(uri);
await listener.connect();
const heard = new Promise((resolve) => listener.on('notification', ({ payload }) => resolve(payload)));
await listener.query('listen news');
await pool.query("select pg_notify('news', 'hello')");
out.heard = await heard;
await listener.end();

const posts = pgTable('posts', {
  id: serial(),
  title: column().notNull(),
  tags: column().array(),
  seen: timestamp({ withTimezone: true }),
  more: jsonb(),
});
const counters = pgTable('counters', { id: integer().primaryKey(), n: integer().notNull() });
await sql`create table counters (id int primary key, n int not null)`;
const overHttp = drizzleHttp({ client: sql });
const seen = new Date('2026-01-02T03:04:05Z');
await overHttp.insert(posts).values({ title: 'drizzle', tags: ['x'], seen, more: { y: null } });
const [found] = await overHttp.select().from(posts).where(eq(posts.title, 'drizzle'));
out.drizzleHttp = { ...found, seen: found.seen.getTime() === seen.getTime() };
const batch = await overHttp.batch([
  overHttp.insert(counters).values({ id: 1, n: 1 }),
  overHttp.select({ n: counters.n }).from(counters),
]);
out.drizzleBatch = batch[1];
const overSessions = drizzleSessions({ client: pool });
out.drizzleTransaction = await overSessions.transaction(async (tx) => {
  await tx.update(counters).set({ n: text`${counters.n} + 1` });
  await tx
    .transaction(async (inner) => {
      await inner.update(counters).set({ n: 100 });
      inner.rollback();
    })
    .catch(() => undefined);
  return tx.select().from(counters);
});
await pool.end();
process.stdout.write(JSON.stringify(out));
