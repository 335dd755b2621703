/** A rule of the protocol is broken: our bug, or a disk that lies. Never caused by a slow or lost message. */
export class InvariantViolation extends Error {
  constructor(what: string) {
    super(`consensus invariant broken: ${what}`);
    this.name = 'InvariantViolation';
  }
}

/** Throws `InvariantViolation` unless `holds`. The text is built only when it does not. */
export function invariant(holds: boolean, what: () => string): asserts holds {
  if (!holds) throw new InvariantViolation(what());
}
