/** Names for branches that come back and find theirs taken. Pure. */
const MAX_NAME = 256;

/** The `attempt`-th name to try: as it was, then `x (recovered)`, `x (recovered 2)`, … */
export function recoveredName(name: string, attempt: number): string {
  if (attempt === 0) return name;
  const suffix = attempt === 1 ? ' (recovered)' : ` (recovered ${attempt})`;
  return [...name].slice(0, MAX_NAME - suffix.length).join('') + suffix;
}

/** Names that were given, and the branches that still need one. */
export interface Naming<Id> {
  readonly given: ReadonlyMap<Id, string>;
  readonly nameless: readonly { readonly id: Id; readonly name: string }[];
}

/** One round: each nameless branch gets its `attempt`-th name unless that is `taken` or given before. */
export function giveNames<Id>(before: Naming<Id>, attempt: number, taken: ReadonlySet<string>): Naming<Id> {
  const given = new Map(before.given);
  const used = new Set(given.values());
  const nameless = before.nameless.filter(({ id, name }) => {
    const candidate = recoveredName(name, attempt);
    if (taken.has(candidate) || used.has(candidate)) return true;
    used.add(candidate);
    given.set(id, candidate);
    return false;
  });
  return { given, nameless };
}
