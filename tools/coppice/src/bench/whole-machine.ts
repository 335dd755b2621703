import { availableParallelism } from 'node:os';

/** Sizes, as of the API, of a compute that is compared with a server that nothing limits: one size, with all CPUs. */
export function wholeMachine(): {
  readonly autoscaling_limit_min_cu: number;
  readonly autoscaling_limit_max_cu: number;
} {
  const units = Math.min(16, availableParallelism());
  return { autoscaling_limit_min_cu: units, autoscaling_limit_max_cu: units };
}
