/** Answers for methods of a contract that this version does not offer: a clear refusal instead of a broken call. */
import type { Handlers, Methods, ServiceContract } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';

export function notOffered<M extends Methods>(contract: ServiceContract<M>): Handlers<M> {
  const refuse = (name: string) => async (): Promise<never> => {
    throw new CoppiceError('Invalid', 'not-offered', `${name} is not offered by this version`, {
      remedy: 'See docs/limits.md.',
    });
  };
  return Object.fromEntries(
    Object.keys(contract.methods).map((name) => [name, refuse(name)]),
  ) as unknown as Handlers<M>;
}
