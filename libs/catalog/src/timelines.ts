import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import { formatLsn, type Lsn, type TimelineId } from '@coppice/vocabulary';
import type { Db } from './database';
import type { TimelinesTable } from './schema';

export type TimelineRow = Selectable<TimelinesTable>;

export async function findTimeline(db: Db, id: TimelineId): Promise<TimelineRow | undefined> {
  return db.selectFrom('timelines').selectAll().where('id', '=', id).executeTakeFirst();
}

/** One step of the way from a timeline to its template. */
export interface LineageStep {
  readonly id: TimelineId;
  /** Absent for a template. */
  readonly ancestorId: TimelineId | undefined;
  readonly ancestorLsn: Lsn | undefined;
  readonly retainedFrom: Lsn | undefined;
  readonly setupDoneLsn: Lsn | undefined;
}

/** A timeline and its ancestors, nearest first, up to the one that holds `lsn`: the last step's `ancestorLsn` is at or before it. */
export async function findLineage(db: Db, id: TimelineId, lsn: Lsn): Promise<LineageStep[]> {
  const { rows } = await sql<{
    id: TimelineId;
    ancestor_id: TimelineId | null;
    ancestor_lsn: Lsn | null;
    retained_from: Lsn | null;
    setup_done_lsn: Lsn | null;
  }>`
    with recursive lineage as (
      select id, ancestor_id, ancestor_lsn, retained_from, setup_done_lsn, 0 as step from timelines where id = ${id}
      union all
      select t.id, t.ancestor_id, t.ancestor_lsn, t.retained_from, t.setup_done_lsn, l.step + 1
      from lineage l join timelines t on t.id = l.ancestor_id where ${formatLsn(lsn)}::pg_lsn < l.ancestor_lsn
    )
    select id, ancestor_id, ancestor_lsn, retained_from, setup_done_lsn from lineage order by step`.execute(
    db,
  );
  return rows.map((r) => ({
    id: r.id,
    ancestorId: r.ancestor_id ?? undefined,
    ancestorLsn: r.ancestor_lsn ?? undefined,
    retainedFrom: r.retained_from ?? undefined,
    setupDoneLsn: r.setup_done_lsn ?? undefined,
  }));
}

export interface TemplateRow {
  readonly timelineId: TimelineId;
  /** Where projects start; absent until the template is imported. */
  readonly lsn: Lsn | undefined;
}

/** Reserves the timeline of a major's template, or answers with the one that was reserved before. */
export async function ensureTemplate(
  db: Db,
  pgVersion: number,
  proposed: TimelineId,
  now: Date,
): Promise<TemplateRow> {
  await sql`
    with reserved as (
      insert into timelines (id, depth, pg_version, created_at)
      select ${proposed}, 0, ${pgVersion}::integer, ${now}::timestamptz where not exists (select from templates where pg_version = ${pgVersion}::integer) returning id
    )
    insert into templates (pg_version, timeline_id) select ${pgVersion}::integer, id from reserved on conflict (pg_version) do nothing`.execute(
    db,
  );
  const row = await findTemplate(db, pgVersion);
  if (!row) throw new Error(`template ${pgVersion} was not reserved`);
  return row;
}

export async function findTemplate(db: Db, pgVersion: number): Promise<TemplateRow | undefined> {
  const row = await db
    .selectFrom('templates')
    .select(['timeline_id', 'lsn'])
    .where('pg_version', '=', pgVersion)
    .executeTakeFirst();
  return row && { timelineId: row.timeline_id, lsn: row.lsn ?? undefined };
}

/** Runs `build` for a template that is not ready while holding its row, so that one process builds; a crash frees it. */
export async function buildTemplateOnce(
  tx: Db,
  pgVersion: number,
  build: (timelineId: TimelineId) => Promise<{ lsn: Lsn; systemIdentifier: bigint }>,
  now: () => Date,
): Promise<'built' | 'ready' | 'held-by-another'> {
  const row = await tx
    .selectFrom('templates')
    .selectAll()
    .where('pg_version', '=', pgVersion)
    .forUpdate()
    .skipLocked()
    .executeTakeFirst();
  if (!row) return 'held-by-another';
  if (row.lsn !== null) return 'ready';
  const { lsn, systemIdentifier } = await build(row.timeline_id);
  await tx
    .updateTable('timelines')
    .set({ head_lsn: formatLsn(lsn), system_identifier: systemIdentifier.toString() })
    .where('id', '=', row.timeline_id)
    .execute();
  await tx
    .updateTable('templates')
    .set({ lsn: formatLsn(lsn), ready_at: now() })
    .where('pg_version', '=', pgVersion)
    .execute();
  return 'built';
}
