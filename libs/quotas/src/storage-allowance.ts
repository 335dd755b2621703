export interface StorageUse {
  /** Limit of the agent over all its branches; absent is unlimited. */
  readonly agentLimitBytes?: number | undefined;
  /** What all branches of the agent use now, this one included. */
  readonly agentUsedBytes: number;
  /** Limit of the logical size of one branch; absent is unlimited. */
  readonly branchLimitBytes?: number | undefined;
  /** Logical size of this branch now. */
  readonly branchBytes: number;
}

/**
 * The logical size up to which a compute may let its branch grow; `undefined` when nothing limits it. Never below what the
 * branch holds now: a limit stops growth, it takes nothing away. Computes that run at the same time are each given all that
 * is left, so an agent may pass its limit by what they write until their allowances are set anew.
 */
export function storageAllowance(use: StorageUse): number | undefined {
  const caps: number[] = [];
  if (use.branchLimitBytes !== undefined) caps.push(use.branchLimitBytes);
  if (use.agentLimitBytes !== undefined)
    caps.push(use.branchBytes + Math.max(0, use.agentLimitBytes - use.agentUsedBytes));
  return caps.length === 0 ? undefined : Math.max(use.branchBytes, Math.min(...caps));
}
