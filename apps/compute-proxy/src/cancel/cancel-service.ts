import { computeProxyContract, serve, type ServedContract } from '@coppice/contracts';
import type { CancelKeys } from './cancel-keys';

/** What this proxy does for others: cancels in its own sessions, and asks nobody else, so that no request goes in circles. */
export function cancelService(keys: CancelKeys): ServedContract {
  return serve(computeProxyContract, {
    cancel: async (key) => ({ found: await keys.cancelHere(key) }),
  });
}
