import {
  type Client,
  type ClientSecurity,
  computeAgentContract,
  connect,
  pageserverContract,
  safekeeperContract,
} from '@coppice/contracts';
import { type IdentityIssuer, part, type Part } from '@coppice/service-kit';

export type AgentClient = Client<(typeof computeAgentContract)['methods']>;
export type SafekeeperClient = Client<(typeof safekeeperContract)['methods']>;
export type PageserverClient = Client<(typeof pageserverContract)['methods']>;

/** Most agent connections kept; the longest unused is closed beyond it. */
const MAX_AGENTS = 1000;

/** How the control-plane shows itself, and the means to make tokens. */
export type PeerSecurity = ClientSecurity & { readonly issuer: IdentityIssuer };

/** The services that the control-plane calls. Connections are made when first used. */
export class Peers {
  readonly safekeepers: readonly SafekeeperClient[];
  readonly pageserver: PageserverClient;
  readonly #agents = new Map<string, AgentClient>();
  readonly #security: PeerSecurity;

  constructor(
    addresses: { readonly safekeepers: readonly string[]; readonly pageserver: string },
    security: PeerSecurity,
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
    const client = known ?? this.#connectAgent(address);
    this.#agents.set(address, client);
    const [oldest] = this.#agents;
    if (this.#agents.size > MAX_AGENTS && oldest) {
      this.#agents.delete(oldest[0]);
      oldest[1].close();
    }
    return client;
  }

  /** Agents run beside what tenants run: one that is broken into must not call others with the token that it is called with. */
  #connectAgent(address: string): AgentClient {
    const { issuer, tls } = this.#security;
    const token = issuer.issue('control-plane', { audience: address });
    return connect(computeAgentContract, { address, security: { token, tls } });
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
