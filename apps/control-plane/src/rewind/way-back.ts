/** What is said when a position lies on a history that the branch has left. Pure. */
import type { BranchRow } from '@coppice/catalog';
import { CoppiceError } from '@coppice/service-kit';

/** Positions beyond the head of a branch that was restored may be ones of its former history: says how to get there. */
export function wayBack(error: unknown, branch: BranchRow): unknown {
  if (!(error instanceof CoppiceError) || error.code !== 'lsn-in-future' || branch.last_reset_at === null)
    return error;
  const kept =
    branch.restored_as === null
      ? 'its before-restore checkpoint'
      : `branch ${branch.restored_as}, which keeps that state`;
  return new CoppiceError(error.kind, error.code, error.message, {
    remedy:
      `${error.remedy ?? ''} The branch was restored at ${new Date(branch.last_reset_at).toISOString()}; what was written before lies behind ${kept}.`.trim(),
    cause: error,
  });
}
