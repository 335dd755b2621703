/**
 * What waking computes by the hundred, and telling what keeps one awake, takes.
 *
 *   nodes.starts_at_once      starts that an agent wants under way at once; null: of an agent that has not said
 *   nodes.max_computes        computes that it runs at most
 *   nodes.memory_bytes        what its computes may take together; null: nobody counts
 *   computes.memory_bytes     what it takes: an estimate until its agent has measured it
 *   computes.awake_reasons    what kept it awake when its agent last saw something that did, at `awake_at`
 *   computes.position         of a compute that runs an endpoint's branch as it was: whose, and where; at most one is live
 */
import { type Kysely, sql } from 'kysely';

const STATEMENTS = [
  `alter table nodes add starts_at_once integer, add max_computes integer, add memory_bytes bigint`,
  `alter table computes
    add memory_bytes bigint not null default 0,
    add awake_reasons jsonb not null default '[]', add awake_at timestamptz,
    add position text`,
  `create unique index computes_position on computes (position) where position is not null and state in ('starting', 'running', 'stopping')`,
  `create index computes_least_used on computes (last_active_at) where state = 'running'`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
