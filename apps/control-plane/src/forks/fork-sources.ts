/** What forks start from, read from the metadata; forks of one branch that begin at the same time share a reading. */
import { type Db, findForkSource, type ForkSource } from '@coppice/catalog';
import { Batches } from '@coppice/service-kit';
import type { BranchId, ProjectId } from '@coppice/vocabulary';

const MAX_TOGETHER = 1_000;

/** Which branch, as a caller means it. */
export interface NamedBranch {
  readonly projectId: ProjectId;
  /** Absent: the default branch. */
  readonly branchId: BranchId | undefined;
  /** Whose projects are seen; absent: everybody's. */
  readonly agentId: string | undefined;
}

/** The same text for the same branch and the same sight of it. */
export function keyOfBranch({ projectId, branchId, agentId }: NamedBranch): string {
  return `${projectId} ${branchId ?? ''} ${agentId ?? ''}`;
}

export class ForkSources {
  readonly #readings: Batches<NamedBranch, ForkSource | undefined>;

  constructor(db: Db) {
    this.#readings = new Batches({
      keyOf: keyOfBranch,
      maxBatch: MAX_TOGETHER,
      run: (named) => {
        const [{ projectId, branchId, agentId }] = named as readonly [NamedBranch];
        const reading = findForkSource(db, projectId, branchId, agentId);
        return named.map(() => reading);
      },
    });
  }

  /** As of now or later: never from a reading that began before the call. */
  find(branch: NamedBranch): Promise<ForkSource | undefined> {
    return this.#readings.add(branch);
  }
}
