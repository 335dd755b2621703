import { type Db, findLiveComputesOfBranches } from '@coppice/catalog';
import { failpoint, Semaphore } from '@coppice/service-kit';
import type { BranchId } from '@coppice/vocabulary';
import type { SuspendCompute } from '../computes/suspend-compute';

const AT_ONCE = 8;
/** Computes that a request waits for; whoever looks for left-over stops ends the others. */
const WAITED_FOR = 200;

/** Ends the computes of branches that were just deleted. What is left when this process dies, another finishes. */
export async function endComputesOf(
  s: { readonly db: Db; readonly suspend: SuspendCompute },
  branchIds: readonly BranchId[],
): Promise<void> {
  failpoint('delete-before-ending-computes');
  const permits = new Semaphore(AT_ONCE);
  const live = await findLiveComputesOfBranches(s.db, branchIds, WAITED_FOR);
  await Promise.all(live.map((compute) => permits.run(() => s.suspend.discard(compute))));
}
