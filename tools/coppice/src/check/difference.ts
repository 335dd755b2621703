/** What services of a stack may disagree about, and what it means that they do. */
export interface Difference {
  /** One of `MEANINGS`, or a contradiction within the metadata, which says for itself what it means. */
  readonly kind: string;
  readonly id: string;
  /** The service that holds, or lacks, what is named. */
  readonly where: string;
  readonly projectId: string;
  readonly branchId: string;
  readonly detail: string;
}

export type ComparedKind = keyof typeof MEANINGS;

export const MEANINGS = {
  'timeline-unknown': 'a service keeps a timeline that no branch can have: its space is lost',
  'timeline-lost': 'a timeline that is needed was deleted: what was written to it is gone here',
  'timeline-unreadable': 'the manifest of a timeline cannot be read: its pages cannot be served',
  'wal-missing':
    'fewer safekeepers than a quorum hold what was acknowledged: it may be lost with the next disk',
  'template-missing': 'the pageserver lacks a template: projects cannot start',
  'compute-unwanted': 'a compute runs that the metadata does not know: nobody will stop it',
  'compute-missing': 'the metadata counts a compute that does not run: its endpoint cannot wake',
  'compute-elsewhere': 'a compute runs on another timeline than the metadata says',
  'process-unwanted': 'a Postgres runs that no compute agent knows: nobody will stop it',
  'process-missing': 'an agent counts a compute as running whose Postgres does not run',
  'directory-unwanted': 'a directory of a compute that is over: its space is lost',
  'counter-off': 'the counters of an agent are not what it has: its limits are too low or too high',
  'object-orphaned': 'object storage keeps what nothing refers to, for longer than the sweep should leave it',
  'no-answer': 'a service cannot be asked: what it holds is not compared',
} as const;

/** How long something may look wrong that is only on its way, milliseconds; where absent, as long as the caller says. */
const ON_ITS_WAY_MS: Readonly<Record<string, number>> = {
  // The sweep over counters comes by once a minute.
  'counter-off': 75_000,
  'compute-unfinished': 30_000,
  // What ended is given back twice a second.
  'quota-not-given-back': 3_000,
};

/** How long a difference of a kind must be seen before it is called one. */
export function patienceFor(kind: string, patienceMs: number): number {
  return Math.max(patienceMs, ON_ITS_WAY_MS[kind] ?? 0);
}

export function meaningOf(kind: string): string {
  return MEANINGS[kind as ComparedKind] ?? 'the metadata contradicts itself';
}

/** Ids of projects and branches where they are known. */
export function difference(
  kind: ComparedKind,
  where: string,
  id: string,
  detail: string,
  of: { readonly projectId?: string; readonly branchId?: string } = {},
): Difference {
  return { kind, id, where, detail, projectId: of.projectId ?? '', branchId: of.branchId ?? '' };
}
