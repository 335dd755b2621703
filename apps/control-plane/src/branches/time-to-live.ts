/**
 * When a branch ends by itself. Pure.
 *
 *   absolute   at a time that is named; renewing it gives it the interval it started with again
 *   idle       so long after its last use; due branches are looked at and put off when they were used since (`idleVerdict`)
 *   lease      so long after it was made or last renewed
 */
import type { BranchRow, NewTtl } from '@coppice/catalog';
import type { NewTimeToLive } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';

const MAX_SECONDS = 2_592_000;
const MIN_SECONDS = { idle: 60, lease: 10 } as const;

/** The branch that is to have a time to live. */
export interface TtlBearer {
  readonly isDefault: boolean;
  readonly isProtected: boolean;
}

/** What a request for a time to live comes to at `nowMs`. Throws when the branch may not have it. */
export function planTtl(request: NewTimeToLive, bearer: TtlBearer, nowMs: number): NewTtl {
  if (bearer.isProtected)
    throw new CoppiceError('Conflict', 'branch-protected', 'a protected branch cannot have a time to live', {
      remedy: 'Lift the protection first, or leave the time to live out.',
    });
  if (bearer.isDefault && !request.defaultBranch)
    throw invalid(
      'default-branch-ttl',
      "the project's default branch gets a time to live only when the request says that it means this branch",
      'Set default_branch to true in the time to live, or make another branch the default one.',
    );
  const interval = intervalOf(request, nowMs);
  return { ...interval, subtree: request.subtree };
}

function intervalOf(request: NewTimeToLive, nowMs: number): Omit<NewTtl, 'subtree'> {
  const { kind, seconds, expiresUnixMs } = request;
  switch (kind) {
    case 'absolute': {
      if (seconds !== 0)
        throw invalid('bad-ttl', 'an absolute time to live has no seconds', 'Name the time in expires.');
      const inMs = expiresUnixMs - nowMs;
      if (inMs <= 0)
        throw invalid(
          'expiry-in-past',
          `the time to expire, ${shown(expiresUnixMs)}, is not in the future`,
          `Use a time after ${shown(nowMs)}.`,
        );
      if (inMs > MAX_SECONDS * 1000)
        throw invalid(
          'expiry-too-late',
          `the time to expire, ${shown(expiresUnixMs)}, is more than 30 days away`,
          `Use ${shown(nowMs + MAX_SECONDS * 1000)} or earlier.`,
        );
      return { kind, seconds: Math.ceil(inMs / 1000), expiresAt: new Date(expiresUnixMs) };
    }
    case 'idle':
    case 'lease': {
      if (expiresUnixMs !== 0)
        throw invalid('bad-ttl', `a time to live of kind ${kind} has no time to expire`, 'Name the seconds.');
      const least = MIN_SECONDS[kind];
      if (!Number.isInteger(seconds) || seconds < least || seconds > MAX_SECONDS)
        throw invalid(
          'bad-ttl',
          `a time to live of kind ${kind} is ${seconds} seconds`,
          `Use ${least} to ${MAX_SECONDS}.`,
        );
      return { kind, seconds, expiresAt: new Date(nowMs + seconds * 1000) };
    }
    default:
      throw invalid(
        'bad-ttl',
        `the kind of time to live is ${JSON.stringify(kind.slice(0, 40))}`,
        'Use absolute, idle or lease.',
      );
  }
}

/** The time to live that a branch has, as it is stored. */
export function ttlOf(row: BranchRow): NewTtl | undefined {
  if (row.ttl_kind === null || row.ttl_seconds === null || row.expires_at === null) return undefined;
  return {
    kind: row.ttl_kind,
    seconds: row.ttl_seconds,
    subtree: row.ttl_subtree,
    expiresAt: new Date(row.expires_at),
  };
}

/** When a branch that is made anew in place, or recovered, is due: being back counts as use, and nothing ends at once. */
export function dueAfterReturn(row: BranchRow, nowMs: number): Date | undefined {
  const ttl = ttlOf(row);
  if (!ttl) return undefined;
  if (ttl.kind === 'absolute' && ttl.expiresAt.getTime() > nowMs) return ttl.expiresAt;
  return new Date(nowMs + ttl.seconds * 1000);
}

/** Whether a branch that is due ends now, or later because it was used since it was last looked at. */
export function expiryVerdict(
  row: BranchRow,
  lastUseMs: number,
  nowMs: number,
): { readonly kind: 'not-due' } | { readonly kind: 'ends' } | { readonly kind: 'later'; readonly at: Date } {
  const ttl = ttlOf(row);
  if (!ttl || ttl.expiresAt.getTime() > nowMs) return { kind: 'not-due' };
  if (ttl.kind !== 'idle') return { kind: 'ends' };
  const at = Math.min(lastUseMs, nowMs) + ttl.seconds * 1000;
  return at > nowMs ? { kind: 'later', at: new Date(at) } : { kind: 'ends' };
}

function shown(unixMs: number): string {
  const date = new Date(unixMs);
  return Number.isNaN(date.getTime()) ? String(unixMs) : date.toISOString();
}

function invalid(code: string, message: string, remedy: string): CoppiceError {
  return new CoppiceError('Invalid', code, message, { remedy });
}
