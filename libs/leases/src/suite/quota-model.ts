import fc from 'fast-check';
import {
  type AgentLimits,
  type Amounts,
  type Counts,
  NO_COUNTS,
  type Resource,
  RESOURCES,
} from '@coppice/quotas';
import type { AgentCounters, QuotaStore, Reservation } from '../quota-store';

/** What a store does for one agent, written down as plainly as possible. */
export class QuotaModel {
  held: AgentCounters | undefined;

  reserve(wants: Amounts, limits: AgentLimits): Reservation {
    if (!this.held) return { kind: 'unknown' };
    const next: Record<Resource, number> = { ...this.held.counts };
    for (const resource of RESOURCES) {
      const used = this.held.counts[resource];
      const limit = limits[resource] ?? Infinity;
      next[resource] = used + (wants[resource] ?? 0);
      if (next[resource] > used && next[resource] > limit) return { kind: 'exceeded', resource, limit, used };
    }
    this.held = { ...this.held, counts: next };
    return { kind: 'reserved', epoch: this.held.epoch };
  }

  release(amounts: Amounts, epoch: number): void {
    if (this.held?.epoch !== epoch) return;
    const counts = { ...NO_COUNTS } as Record<Resource, number>;
    for (const resource of RESOURCES)
      counts[resource] = Math.max(0, this.held.counts[resource] - (amounts[resource] ?? 0));
    this.held = { epoch, counts };
  }

  rebuild(counts: Counts, epoch: number): number {
    if (!this.held || this.held.epoch < epoch) this.held = { counts, epoch };
    return this.held.epoch;
  }
}

export type QuotaCommand =
  | { readonly do: 'reserve'; readonly wants: Amounts; readonly limits: AgentLimits }
  | { readonly do: 'release'; readonly amounts: Amounts; readonly epoch: number }
  | { readonly do: 'rebuild'; readonly counts: Counts; readonly epoch: number }
  | { readonly do: 'forget' };

const amount = fc.nat(4);
const some = fc.record({ projects: amount, branches: amount, computes: amount }, { requiredKeys: [] });
const all = fc.record({ projects: amount, branches: amount, computes: amount });
const limit = fc.nat(10);
const limits = fc.record({ projects: limit, branches: limit, computes: limit }, { requiredKeys: [] });
const epoch = fc.integer({ min: 1, max: 4 });

export const quotaCommands: fc.Arbitrary<QuotaCommand[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('reserve' as const), wants: some, limits }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('release' as const), amounts: some, epoch }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('rebuild' as const), counts: all, epoch }) },
    { weight: 1, arbitrary: fc.constant({ do: 'forget' as const }) },
  ),
  { maxLength: 40 },
);

/** Gives every command to both and expects the same answers and counters. */
export async function expectSameAsModel(
  store: QuotaStore,
  agentId: string,
  commands: readonly QuotaCommand[],
): Promise<void> {
  const model = new QuotaModel();
  for (const command of commands) {
    if (command.do === 'reserve') {
      const { wants, limits: of } = command;
      expect(await store.reserve(agentId, wants, of)).toEqual(model.reserve(wants, of));
    } else if (command.do === 'release') {
      await store.release(agentId, command.amounts, command.epoch);
      model.release(command.amounts, command.epoch);
    } else if (command.do === 'rebuild') {
      const { counts, epoch: of } = command;
      expect(await store.rebuild(agentId, counts, of)).toBe(model.rebuild(counts, of));
    } else {
      await store.forget(agentId);
      model.held = undefined;
    }
    expect(await store.read(agentId)).toEqual(model.held);
  }
}
