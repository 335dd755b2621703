import { CoppiceError } from '@coppice/service-kit';

/** How many rows a page has: what is asked for, within bounds; 0 stands for `standard`. */
export function pageSize(asked: number, standard: number, most: number): number {
  if (asked === 0) return standard;
  if (Number.isInteger(asked) && asked >= 1 && asked <= most) return asked;
  throw new CoppiceError('Malformed', 'bad-limit', `limit is ${asked}`, { remedy: `Use 1 to ${most}.` });
}
