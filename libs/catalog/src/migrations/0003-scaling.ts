import { type Kysely, sql } from 'kysely';

/** Sizes of computes that change while they run: what a run has cost is no longer its length times one size. */
const STATEMENTS = [
  `alter table computes
    add unit_seconds double precision not null default 0, add unit_seconds_at timestamptz,
    add metered_unit_seconds double precision not null default 0`,
  `update computes set metered_unit_seconds = greatest(0, extract(epoch from metered_until - running_at)) * compute_units
    where metered_until is not null and running_at is not null`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
