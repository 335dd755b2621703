import type { Brand } from './brand';

/** Fencing number of a walproposer's leadership of a timeline; 0 is "before any leader". */
export type Term = Brand<number, 'Term'>;
/** Fencing number of a pageserver's attachment; object names end in it. */
export type Generation = Brand<number, 'Generation'>;

function fencingNumber<T extends number>(name: string): (value: number) => T {
  return (value) => {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new RangeError(`${name} ${value} is not an integer from 0 to 2^53-1`);
    return value as T;
  };
}

export const term = fencingNumber<Term>('term');
export const generation = fencingNumber<Generation>('generation');
