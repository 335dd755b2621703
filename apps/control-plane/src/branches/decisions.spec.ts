import type { BranchRow } from '@coppice/catalog';
import type { CoppiceError } from '@coppice/service-kit';
import type { BranchId } from '@coppice/vocabulary';
import { checkAnnotations } from './annotations';
import { childrenOf, planDeletion } from './deletion-plan';
import { giveNames, type Naming, recoveredName } from './recovered-names';
import { dueAfterReturn, expiryVerdict, planTtl } from './time-to-live';

const NOW = Date.UTC(2026, 0, 1);
const row = (over: Partial<BranchRow> = {}): BranchRow =>
  ({
    id: 'br-a-b-1' as BranchId,
    name: 'main',
    is_default: false,
    is_protected: false,
    ttl_kind: null,
    ttl_seconds: null,
    ttl_subtree: false,
    expires_at: null,
    ...over,
  }) as BranchRow;
const idle = (expiresAt: number): BranchRow =>
  row({ ttl_kind: 'idle', ttl_seconds: 60, expires_at: expiresAt });
const code = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return (error as CoppiceError).code;
  }
  return 'none';
};

describe('an idle branch that is due', () => {
  it('ends when it was last used a full interval ago, and is put off by what is missing otherwise', () => {
    expect(expiryVerdict(idle(NOW), NOW - 60_000, NOW)).toEqual({ kind: 'ends' });
    expect(expiryVerdict(idle(NOW), NOW - 59_999, NOW)).toEqual({ kind: 'later', at: new Date(NOW + 1) });
    expect(expiryVerdict(idle(NOW + 1), 0, NOW)).toEqual({ kind: 'not-due' });
    expect(expiryVerdict(row(), 0, NOW)).toEqual({ kind: 'not-due' });
  });

  it('is not kept alive by a use in the future', () => {
    expect(expiryVerdict(idle(NOW), NOW + 1e9, NOW)).toEqual({ kind: 'later', at: new Date(NOW + 60_000) });
  });
});

describe('a branch that comes back', () => {
  it('has its whole interval before it, or until the time that was named when that is still to come', () => {
    expect(dueAfterReturn(idle(NOW - 1e6), NOW)).toEqual(new Date(NOW + 60_000));
    const absolute = (at: number) => row({ ttl_kind: 'absolute', ttl_seconds: 100, expires_at: at });
    expect(dueAfterReturn(absolute(NOW + 5), NOW)).toEqual(new Date(NOW + 5));
    expect(dueAfterReturn(absolute(NOW - 5), NOW)).toEqual(new Date(NOW + 100_000));
    expect(dueAfterReturn(row(), NOW)).toBeUndefined();
  });
});

describe('a time to live', () => {
  const ttl = {
    kind: 'absolute',
    seconds: 0,
    expiresUnixMs: NOW + 1500,
    subtree: false,
    defaultBranch: false,
  };
  const bearer = { isDefault: false, isProtected: false };
  it('at a named time keeps the interval that it began with', () => {
    expect(planTtl(ttl, bearer, NOW)).toEqual({
      kind: 'absolute',
      seconds: 2,
      subtree: false,
      expiresAt: new Date(NOW + 1500),
    });
  });
  it('is not an interval and a time at once', () => {
    expect(code(() => planTtl({ ...ttl, seconds: 5 }, bearer, NOW))).toBe('bad-ttl');
    expect(code(() => planTtl({ ...ttl, kind: 'idle', seconds: 60 }, bearer, NOW))).toBe('bad-ttl');
    expect(code(() => planTtl({ ...ttl, expiresUnixMs: Number.MAX_SAFE_INTEGER }, bearer, NOW))).toBe(
      'expiry-too-late',
    );
  });
});

describe('a deletion', () => {
  const request = { id: row().id, children: 'refuse' as const, defaultBranch: false };
  it('says first what is not there, then what is protected, then the default branch, then children', () => {
    const shielded = row({ is_protected: true, is_default: true });
    const inTheWay = [{ id: 'br-c-d-1' as BranchId, name: 'child' }];
    expect(code(() => planDeletion(request, { subtree: [], inTheWay }))).toBe('branch-not-found');
    expect(code(() => planDeletion(request, { subtree: undefined, inTheWay }))).toBe('subtree-too-large');
    expect(code(() => planDeletion(request, { subtree: [shielded], inTheWay }))).toBe('branch-protected');
    expect(code(() => planDeletion(request, { subtree: [row({ is_default: true })], inTheWay }))).toBe(
      'default-branch',
    );
    expect(code(() => planDeletion(request, { subtree: [row()], inTheWay }))).toBe('branch-has-children');
    expect(planDeletion({ ...request, children: 'keep' }, { subtree: [row()], inTheWay }).ids).toEqual([
      row().id,
    ]);
  });
  it('is asked for in words that are known', () => {
    expect(childrenOf('')).toBe('refuse');
    expect(code(() => childrenOf('orphan'))).toBe('bad-children');
  });
});

describe('names of branches that come back', () => {
  it('are unique among themselves and with those that are taken, and within the limit', () => {
    const taken = new Set(['a', 'b (recovered)']);
    let naming: Naming<number> = {
      given: new Map(),
      nameless: ['a', 'a (recovered)', 'b', 'c'].map((name, id) => ({ id, name })),
    };
    for (let attempt = 0; naming.nameless.length > 0; attempt++) naming = giveNames(naming, attempt, taken);
    expect([...naming.given].sort().map(([, name]) => name)).toEqual([
      'a (recovered 2)',
      'a (recovered)',
      'b',
      'c',
    ]);
    expect([...recoveredName('x'.repeat(256), 12)]).toHaveLength(256);
  });
});

describe('annotations', () => {
  it('are few, short and storable', () => {
    expect(checkAnnotations({ pr: '17' })).toEqual({ pr: '17' });
    const refused: Record<string, string>[] = [
      { '': 'x' },
      { ['k'.repeat(64)]: 'x' },
      { k: 'v'.repeat(256) },
      { k: '\0' },
      { k: '\ud800' },
    ];
    for (const bad of refused) expect(code(() => checkAnnotations(bad))).toBe('bad-annotation');
  });
});
