import {
  type Client,
  type ClientSecurity,
  computeAgentContract,
  connect,
  pageserverContract,
  safekeeperContract,
} from '@coppice/contracts';
import { part, type Part } from '@coppice/service-kit';

export type AgentClient = Client<(typeof computeAgentContract)['methods']>;
export type SafekeeperClient = Client<(typeof safekeeperContract)['methods']>;
export type PageserverClient = Client<(typeof pageserverContract)['methods']>;

/** Most agent connections kept; the longest unused is closed beyond it. */
const MAX_AGENTS = 1000;

/** The services that the control-plane calls. Connections are made when first used. */
export class Peers {
  readonly safekeepers: readonly SafekeeperClient[];
  readonly pageserver: PageserverClient;
  readonly #agents = new Map<string, AgentClient>();
  readonly #security: ClientSecurity;

  constructor(
    addresses: { readonly safekeepers: readonly string[]; readonly pageserver: string },
    security: ClientSecurity,
  ) {
    this.#security = security;
    this.safekeepers = addresses.safekeepers.map((address) =>
      connect(safekeeperContract, { address, security }),
    );
    this.pageserver = connect(pageserverContract, { address: addresses.pageserver, security });
  }

  agent(address: string): AgentClient {
    const known = this.#agents.get(address);
    this.#agents.delete(address);
    const client = known ?? connect(computeAgentContract, { address, security: this.#security });
    this.#agents.set(address, client);
    const [oldest] = this.#agents;
    if (this.#agents.size > MAX_AGENTS && oldest) {
      this.#agents.delete(oldest[0]);
      oldest[1].close();
    }
    return client;
  }

  /** Closes all connections when the service stops. */
  asPart(): Part {
    return part(
      'peers',
      () => undefined,
      () => {
        for (const client of [...this.safekeepers, this.pageserver, ...this.#agents.values()]) client.close();
      },
    );
  }
}
