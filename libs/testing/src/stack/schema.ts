import { FULL } from '../full';

/** Each is about 50 kB of WAL: half of its indexes are logged as images. */
const ITEMS = FULL ? 5_000 : 2_000;

/** A schema with one of everything: every index type, every storage form that an application meets. */
export const SCHEMA: readonly string[] = [
  'create extension if not exists pg_trgm',
  'create extension if not exists btree_gist',
  'create extension if not exists btree_gin',
  'create extension if not exists bloom',
  'create extension if not exists hstore',
  "create type mood as enum ('calm', 'keen', 'cross')",
  'create sequence ticket increment 3 start 100',
  `create table items (
     id bigint generated always as identity primary key, code int not null, name text not null, mood mood not null default 'calm',
     tags text[] not null default '{}', doc jsonb, place point, span int4range, body text, made timestamptz not null default now(),
     ticket bigint default nextval('ticket'), attributes hstore)`,
  'create unique index items_code on items using btree (code)',
  'create index items_name_hash on items using hash (name)',
  'create index items_doc_gin on items using gin (doc jsonb_path_ops)',
  'create index items_tags_gin on items using gin (tags)',
  'create index items_name_trgm on items using gin (name gin_trgm_ops)',
  'create index items_span_gist on items using gist (span)',
  'create index items_name_gist on items using gist (name gist_trgm_ops)',
  'create index items_place_spgist on items using spgist (place)',
  'create index items_made_brin on items using brin (made) with (pages_per_range = 4)',
  'create index items_bloom on items using bloom (code, name)',
  "create index items_partial on items (mood) where mood <> 'calm'",
  'create index items_expression on items (lower(name))',
  'create table events (at date not null, item bigint references items (id), kind int not null, note text) partition by range (at)',
  "create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01')",
  "create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01')",
  'create table events_other partition of events default',
  'create index events_kind on events (kind, at)',
  'create unlogged table scratch (a int primary key, b text)',
  'create table audit (n bigserial primary key, what text, at timestamptz default clock_timestamp())',
  `create function note_change() returns trigger language plpgsql as $$
     begin insert into audit (what) values (tg_op || ' ' || coalesce(new.name, old.name)); return coalesce(new, old); end $$`,
  'create trigger items_audit after update or delete on items for each row execute function note_change()',
  `insert into items (code, name, mood, tags, doc, place, span, body, attributes)
     select i, 'item ' || i || ' ' || md5(i::text), (array['calm', 'keen', 'cross']::mood[])[1 + i % 3], array['t' || i % 7, 'u' || i % 11],
       jsonb_build_object('i', i, 'nested', jsonb_build_object('list', jsonb_build_array(i, i + 1, 'x' || i % 5))), point(i % 97, i % 89),
       int4range(i, i + 10), case when i % 50 = 0 then (select string_agg(md5((i * j)::text), '') from generate_series(1, 400) j) end,
       hstore('k' || i % 3, i::text)
     from generate_series(1, ${ITEMS}) i`,
  `insert into events select date '2025-06-01' + (i % 700), 1 + i % ${ITEMS / 2}, i % 13, repeat('n', i % 40) from generate_series(1, 8000) i`,
  'create materialized view moods as select mood, count(*) as n, sum(code) as total from items group by mood',
  'create unique index moods_mood on moods (mood)',
  "create view keen_items as select id, name from items where mood = 'keen'",
  'create role reader nologin',
  'grant select on items, events to reader',
  "update items set name = name || ' changed' where id % 10 = 0",
  'delete from items where id % 97 = 0 and not exists (select from events where item = items.id)',
  "select setval('ticket', 77777)",
  'analyze',
];

/** On top of it, where the server has pgvector. */
export const VECTOR_SCHEMA: readonly string[] = [
  'create extension if not exists vector',
  'create table memories (id int primary key, embedding vector(8) not null)',
  `insert into memories select i, array[i % 7, i % 11, i % 13, i % 17, i % 19, i % 23, i % 29, i % 31]::vector from generate_series(1, 2000) i`,
  'create index memories_hnsw on memories using hnsw (embedding vector_l2_ops)',
  'create index memories_ivfflat on memories using ivfflat (embedding vector_cosine_ops) with (lists = 10)',
  'insert into memories select i, array[i % 5, 1, 2, 3, 4, 5, 6, i % 37]::vector from generate_series(2001, 2500) i',
  'delete from memories where id % 10 = 0',
  'vacuum memories',
];
