import type { AgentNode, LiveCompute } from '@coppice/catalog';
import type { ComputeActivity } from '@coppice/contracts';
import { lsn, type NodeId } from '@coppice/vocabulary';
import { DEFAULT_IDLE_SECONDS, idleDueAt, idleLimitSeconds } from './idle';
import { chooseAgent } from './placement';
import { reconcile, REPORT_GRACE_MS } from './reconcile';

const node = (id: string, computes: number) => ({ id: id as NodeId, computes }) as AgentNode;

describe('placement', () => {
  it('takes the agent with the fewest computes', () => {
    expect(chooseAgent([node('a', 3), node('b', 1), node('c', 2)], new Set())?.id).toBe('b');
  });
  it('passes over where a start failed, unless there is nothing else', () => {
    expect(chooseAgent([node('a', 3), node('b', 1)], new Set(['b' as NodeId]))?.id).toBe('a');
    expect(chooseAgent([node('b', 1)], new Set(['b' as NodeId]))?.id).toBe('b');
  });
  it('finds nothing among none', () => {
    expect(chooseAgent([], new Set())).toBeUndefined();
  });
});

describe('idleness', () => {
  it('goes by the endpoint, then the project, then the default', () => {
    expect([idleLimitSeconds(60, 90), idleLimitSeconds(0, 90), idleLimitSeconds(0, 0)]).toEqual([
      60,
      90,
      DEFAULT_IDLE_SECONDS,
    ]);
  });
  it('is due the limit after the last activity, or never', () => {
    expect(idleDueAt(1000, 5)?.getTime()).toBe(6000);
    expect(idleDueAt(1000, -1)).toBeUndefined();
  });
});

describe('a report', () => {
  const now = 1_000_000;
  const row = (id: string, over: object = {}) =>
    ({ id, state: 'running', incarnation: 'i1', running_at: 0, ...over }) as LiveCompute;
  const report = (computeId: string, state = 'running', lastActiveUnixMs = 5): ComputeActivity => ({
    computeId,
    lastActiveUnixMs,
    commitLsn: lsn(7n),
    state,
    failure: '',
  });

  it('of a running compute is its activity, never in the future', () => {
    const { activity } = reconcile([row('a')], 'i1', [report('a', 'running', now + 99)], now);
    expect(activity).toMatchObject([{ computeId: 'a', lastActiveAt: new Date(now), commitLsn: 7n }]);
  });
  it('is by our clock, however the clock of the agent goes', () => {
    for (const skew of [-60_000, 7_000]) {
      const reports = [report('a', 'running', now - 500 + skew)];
      const { activity } = reconcile([row('a')], 'i1', reports, now, now + skew);
      expect(activity).toMatchObject([{ lastActiveAt: new Date(now - 500) }]);
    }
  });
  it('of an ended compute that should run fails it', () => {
    expect(reconcile([row('a')], 'i1', [report('a', 'failed')], now).failed).toHaveLength(1);
    expect(reconcile([row('a', { state: 'stopping' })], 'i1', [report('a', 'stopped')], now).failed).toEqual(
      [],
    );
  });
  it('of one that ended in good order stops it where it says', () => {
    const { stopped, failed } = reconcile([row('a')], 'i1', [report('a', 'stopped')], now);
    expect({ stopped, failed }).toEqual({ stopped: [{ id: 'a', finalLsn: 7n }], failed: [] });
  });
  it('without a compute fails it, unless it just started', () => {
    expect(reconcile([row('a')], 'i1', [], now).failed).toHaveLength(1);
    expect(reconcile([row('a', { running_at: now - REPORT_GRACE_MS + 1 })], 'i1', [], now).failed).toEqual(
      [],
    );
    expect(reconcile([row('a', { state: 'starting' })], 'i1', [], now).failed).toEqual([]);
  });
  it('of a size is taken, and answered with the sizes that the endpoint has when they are others', () => {
    const sizes = { computeUnits: 0.5, unitSeconds: 7, minComputeUnits: 0.25, maxComputeUnits: 2 };
    const told = (min: number | null, max: number | null) =>
      reconcile(
        [row('a', { min_compute_units: min, max_compute_units: max })],
        'i1',
        [{ ...report('a'), ...sizes }],
        now,
      );
    expect(told(0.25, 2).activity).toMatchObject([{ size: { units: 0.5, unitSeconds: 7 } }]);
    expect(told(0.25, 2).resized).toEqual([]);
    expect(told(0.5, 4).resized).toEqual([{ id: 'a', minUnits: 0.5, maxUnits: 4 }]);
    expect(told(null, null).resized).toEqual([]);
    expect(
      reconcile([row('a', { min_compute_units: 1, max_compute_units: 1 })], 'i1', [report('a')], now).resized,
    ).toEqual([]);
  });
  it('of a new incarnation fails what the old one ran', () => {
    expect(
      reconcile([row('a'), row('b', { state: 'stopping' })], 'i2', [], now).failed.map((f) => f.id),
    ).toEqual(['a', 'b']);
  });
  it('of what nobody wants has it stopped', () => {
    expect(reconcile([], 'i1', [report('x'), report('y', 'stopped')], now).orphans).toEqual(['x']);
  });
});
