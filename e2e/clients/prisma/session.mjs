// A session of an unmodified Prisma over its adapter for Neon: one JSON object of results.
import { neonConfig } from '@neondatabase/serverless';
import { PrismaNeon } from '@prisma/adapter-neon';
import WebSocket from 'ws';
import { PrismaClient } from './client/client.ts';

const { DATABASE_URL: connectionString, SQL_ADDRESS: address } = process.env;
neonConfig.wsProxy = () => `${address}/v2`;
neonConfig.useSecureWebSocket = false;
neonConfig.webSocketConstructor = WebSocket;
const prisma = new PrismaClient({ adapter: new PrismaNeon({ connectionString }) });
const out = {};

await prisma.$executeRaw`create table "Task" (id serial primary key, title text not null unique, done bool not null default false, tags text[], price numeric, made timestamp(3) not null default now())`;
const { id, made, ...task } = await prisma.task.create({
  data: { title: 'one', tags: ['a'], price: '1.10' },
});
out.created = { id, made: made instanceof Date, ...task };
await prisma.$transaction(async (tx) => {
  await tx.task.create({ data: { title: 'two' } });
  await tx.task.update({ where: { title: 'one' }, data: { done: true } });
});
out.rolledBack = await prisma
  .$transaction([
    prisma.task.create({ data: { title: 'three' } }),
    prisma.task.create({ data: { title: 'one' } }),
  ])
  .catch(({ code }) => code);
out.found = await prisma.task.findMany({ orderBy: { id: 'asc' }, select: { title: true, done: true } });
out.raw = await prisma.$queryRaw`select count(*)::int as n from "Task" where title = ${'one'}`;
await prisma.$disconnect();
process.stdout.write(JSON.stringify(out));
