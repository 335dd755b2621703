import {
  computePeriod,
  exceededText,
  NO_COUNTS,
  quotaVerdict,
  storageAllowance,
  wholeAmounts,
} from './index';

describe('the verdict', () => {
  const counts = { projects: 2, branches: 9, computes: 0 };

  it('allows up to the limit and not one more', () => {
    expect(quotaVerdict(counts, { branches: 1 }, { branches: 10 })).toEqual({ kind: 'allowed' });
    expect(quotaVerdict(counts, { branches: 2 }, { branches: 10 })).toEqual({
      kind: 'exceeded',
      resource: 'branches',
      limit: 10,
      used: 9,
    });
  });

  it('names the first resource that does not fit', () => {
    const verdict = quotaVerdict(counts, { projects: 1, branches: 5 }, { projects: 2, branches: 10 });
    expect(verdict).toMatchObject({ resource: 'projects' });
  });

  it('takes an absent limit for none', () => {
    expect(quotaVerdict(counts, { projects: 1e9 }, {})).toEqual({ kind: 'allowed' });
  });

  it('does not refuse over a limit that is exceeded already and not asked of', () => {
    expect(quotaVerdict(counts, { computes: 1, branches: 0 }, { branches: 5 })).toEqual({ kind: 'allowed' });
  });

  it('refuses everything at a limit of 0', () => {
    expect(quotaVerdict(NO_COUNTS, { computes: 1 }, { computes: 0 })).toMatchObject({ limit: 0, used: 0 });
  });

  it.each([-1, 0.5, Number.NaN, 2 ** 53])('finds the amount %p to be a bug', (amount) => {
    expect(() => wholeAmounts({ projects: amount })).toThrow(RangeError);
  });
});

describe('the period of compute seconds', () => {
  it('is the UTC month', () => {
    const period = computePeriod(Date.parse('2026-12-31T23:59:59.999Z'));
    expect(period).toEqual({
      startMs: Date.parse('2026-12-01T00:00Z'),
      endMs: Date.parse('2027-01-01T00:00Z'),
    });
    expect(computePeriod(period.startMs)).toEqual(period);
    expect(computePeriod(period.endMs).startMs).toBe(period.endMs);
  });
});

describe('the storage allowance of a compute', () => {
  const use = { agentUsedBytes: 70, branchBytes: 20 };

  it('is absent when nothing limits it', () => expect(storageAllowance(use)).toBeUndefined());

  it('is what the agent has left on top of what the branch holds', () =>
    expect(storageAllowance({ ...use, agentLimitBytes: 100 })).toBe(50));

  it('is the limit of the branch when that is smaller', () =>
    expect(storageAllowance({ ...use, agentLimitBytes: 100, branchLimitBytes: 30 })).toBe(30));

  it.each([{ agentLimitBytes: 60 }, { branchLimitBytes: 10 }, { agentLimitBytes: 0, branchLimitBytes: 0 }])(
    'is never below what the branch holds (%p)',
    (limits) => expect(storageAllowance({ ...use, ...limits })).toBe(20),
  );
});

describe('the text of a limit', () => {
  it('tells limit, use and what to do', () => {
    expect(exceededText('branches', { limit: 10, used: 9, wanted: 2 })).toEqual({
      message: 'this agent has 9 of at most 10 branches and asks for 2 more',
      remedy:
        'Delete branches that are not needed any more. Or ask the operator to raise the limit branches of this agent.',
    });
  });

  it('tells when compute seconds come back', () => {
    const { remedy } = exceededText('computeSeconds', { limit: 5, used: 6, againAtMs: Date.UTC(2027, 0) });
    expect(remedy).toBe(
      'Computes start again at 2027-01-01T00:00:00.000Z with a new month. Or ask the operator to raise the limit compute_seconds of this agent.',
    );
  });
});
