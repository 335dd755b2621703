/**
 * What a node gives to computes and counts of them. On one machine that is the kernel's control groups, one group per compute.
 * On Kubernetes a pod is the group: its processes are in it from the start, and `resize` asks for an in-place resize, which takes
 * a while and may be put off or refused. So a size is in force only once `resize` has resolved, and a rejected one changes nothing.
 */
import type { MemoryLimits, UsageCounters } from '@coppice/scaling';

export interface SizeInForce {
  readonly cpus: number;
  readonly memory: MemoryLimits;
}

export interface ResourceGroup {
  /** Puts a process into it, with what that has forked by then; what it forks later is in it, too. */
  add(pid: number): Promise<void>;
  /** Cheap enough for twice a second. */
  usage(): UsageCounters;
  /** `undefined` lifts every limit. */
  resize(size: SizeInForce | undefined): Promise<void>;
  /** Its processes have ended, or are about to. Does not wait for that. */
  discard(): void;
}

export interface ComputeResources {
  /** What limits computes here. */
  readonly kind: 'cgroup v2' | 'cgroup v1' | 'none';
  /** CPUs that this agent may use, and so the most that one compute can get. */
  readonly nodeCpus: number;
  /** The group of one compute. */
  group(name: string): ResourceGroup;
  /** Removes what agents left that are gone. */
  removeLeftovers(): Promise<void>;
  /** After the last compute: nothing of it is left. */
  close(): Promise<void>;
}
