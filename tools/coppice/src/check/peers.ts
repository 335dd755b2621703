/** The services that are compared, reached as the operator. */
import {
  type Client,
  computeAgentContract,
  connect,
  controlInternalContract,
  pageserverContract,
  safekeeperContract,
} from '@coppice/contracts';
import type { IdentityIssuer } from '@coppice/service-kit';

export type ControlInternal = Client<(typeof controlInternalContract)['methods']>;
export type Pageserver = Client<(typeof pageserverContract)['methods']>;
export type Safekeeper = Client<(typeof safekeeperContract)['methods']>;
export type ComputeAgent = Client<(typeof computeAgentContract)['methods']>;

export interface Addresses {
  readonly control: string;
  readonly pageserver: string;
  readonly safekeepers: readonly { readonly name: string; readonly address: string }[];
}

export class CheckedPeers {
  readonly control: ControlInternal;
  readonly pageserver: Pageserver;
  readonly safekeepers: readonly { readonly name: string; readonly client: Safekeeper }[];
  readonly #issuer: IdentityIssuer;

  constructor(addresses: Addresses, issuer: IdentityIssuer) {
    this.#issuer = issuer;
    const security = { token: issuer.issue('operator'), tls: undefined };
    this.control = connect(controlInternalContract, { address: addresses.control, security });
    this.pageserver = connect(pageserverContract, { address: addresses.pageserver, security });
    this.safekeepers = addresses.safekeepers.map(({ name, address }) => ({
      name,
      client: connect(safekeeperContract, { address, security }),
    }));
  }

  /** Runs `work` with a connection to a compute agent; its token is believed by that agent alone. */
  async withAgent<T>(address: string, work: (agent: ComputeAgent) => Promise<T>): Promise<T> {
    const token = this.#issuer.issue('operator', { audience: address });
    const agent = connect(computeAgentContract, { address, security: { token, tls: undefined } });
    try {
      return await work(agent);
    } finally {
      agent.close();
    }
  }

  close(): void {
    for (const client of [this.control, this.pageserver, ...this.safekeepers.map((s) => s.client)])
      client.close();
  }
}
