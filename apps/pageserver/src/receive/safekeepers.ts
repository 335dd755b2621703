import type { Client, ClientSecurity } from '@coppice/contracts';
import { connect, safekeeperContract } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';

export type SafekeeperClient = Client<typeof safekeeperContract.methods>;

export interface Safekeeper {
  readonly id: string;
  readonly client: SafekeeperClient;
}

/** Clients of safekeepers named `id=address`. Throws `Malformed` for anything else. */
export function connectSafekeepers(members: readonly string[], security: ClientSecurity): Safekeeper[] {
  return members.map((member) => {
    const at = member.indexOf('=');
    if (at <= 0)
      throw new CoppiceError('Malformed', 'bad-configuration', `safekeeper ${member} is not id=address`);
    return {
      id: member.slice(0, at),
      client: connect(safekeeperContract, { address: member.slice(at + 1), security }),
    };
  });
}
