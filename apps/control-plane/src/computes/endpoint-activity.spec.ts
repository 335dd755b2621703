import type { ComputeRow } from '@coppice/catalog';
import { endpointActivity } from './endpoint-activity';

const transaction = { kind: 'transaction', sinceUnixMs: 100, pid: 7, name: '', database: 'neondb' };
const row = (over: Partial<ComputeRow> = {}) =>
  ({
    state: 'running',
    last_active_at: 1_000,
    awake_at: 2_000,
    awake_reasons: [transaction],
    idle_due_at: 301_000,
    ...over,
  }) as ComputeRow;

describe('what keeps an endpoint awake', () => {
  it('is what its agent saw last', () => {
    expect(endpointActivity('ep-a-b-1', row())).toEqual({
      endpointId: 'ep-a-b-1',
      isRunning: true,
      lastActiveUnixMs: 1_000,
      reasons: [transaction],
      seenUnixMs: 2_000,
      suspendUnixMs: 301_000,
    });
  });
  it('is a connection that was let in since', () => {
    const { reasons, seenUnixMs } = endpointActivity('ep-a-b-1', row({ last_active_at: 3_000 }));
    expect(reasons).toMatchObject([{ kind: 'connection', sinceUnixMs: 3_000 }]);
    expect(seenUnixMs).toBe(3_000);
  });
  it('stays known when it is suspended, and is nothing when it never ran', () => {
    expect(endpointActivity('ep-a-b-1', row({ state: 'stopped', idle_due_at: null }))).toMatchObject({
      isRunning: false,
      reasons: [transaction],
      suspendUnixMs: 0,
    });
    expect(endpointActivity('ep-a-b-1', undefined)).toMatchObject({
      isRunning: false,
      reasons: [],
      seenUnixMs: 0,
    });
  });
});
