import { AUTOVACUUM_PATIENCE_MS, type AwakeReason, lookAt } from './awake';

const reason = (kind: string): AwakeReason => ({ kind, sinceUnixMs: 500, pid: 7, name: '', database: 'db' });
const times = { before: 1_000, active: 1_000, now: 6_000 };

describe('what keeps a compute awake', () => {
  it('is what is seen at a look', () => {
    const open = reason('transaction');
    expect(lookAt([open], { ...times, active: 6_000 })).toEqual({ reasons: [open], held: false });
    expect(lookAt([], times)).toEqual({ reasons: [], held: false });
  });
  it('is a session when somebody did something between two looks', () => {
    expect(lookAt([], { ...times, active: 4_000 }).reasons).toMatchObject([
      { kind: 'session', sinceUnixMs: 4_000 },
    ]);
  });
  it('is autovacuum, which is let finish but not for ever', () => {
    const vacuum = reason('autovacuum');
    expect(lookAt([vacuum], times)).toEqual({ reasons: [vacuum], held: true });
    const late = { ...times, now: times.active + AUTOVACUUM_PATIENCE_MS };
    expect(lookAt([vacuum], late)).toEqual({ reasons: [], held: false });
  });
});
