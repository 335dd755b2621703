/** Branches and projects as answers show them: with what they used in the current period, a UTC month, and how large they are. */
import {
  type BranchRow,
  type Db,
  type ProjectRow,
  readBranchTotals,
  readProjectTotals,
} from '@coppice/catalog';
import type { BranchModel, ProjectModel } from '@coppice/contracts';
import { computePeriod } from '@coppice/quotas';
import { branchModel, projectModel } from '../models';
import { consumptionModel } from './accounts';

export async function branchesWithUse(
  db: Db,
  rows: readonly BranchRow[],
  nowMs: number,
): Promise<BranchModel[]> {
  if (rows.length === 0) return [];
  const from = new Date(computePeriod(nowMs).startMs);
  const totals = await readBranchTotals(
    db,
    rows.map((r) => r.id),
    from,
  );
  return rows.map((row) => {
    const of = totals.get(row.id);
    return of ? { ...branchModel(row), consumption: consumptionModel(of) } : branchModel(row);
  });
}

export async function projectsWithUse(
  db: Db,
  rows: readonly ProjectRow[],
  nowMs: number,
): Promise<ProjectModel[]> {
  if (rows.length === 0) return [];
  const from = new Date(computePeriod(nowMs).startMs);
  const totals = await readProjectTotals(
    db,
    rows.map((r) => r.id),
    from,
  );
  return rows.map((row) => {
    const of = totals.get(row.id);
    if (!of) return projectModel(row);
    return {
      ...projectModel(row),
      consumption: consumptionModel(of),
      computeLastActiveUnixMs: of.last_active_at ?? 0,
    };
  });
}
