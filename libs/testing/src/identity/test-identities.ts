/** Identities for tests that serve or call contracts without a stack: one key per test file, and whoever it needs. */
import { type Client, connect, type Methods, type Security, type ServiceContract } from '@coppice/contracts';
import {
  generateIdentityKey,
  IdentityIssuer,
  type IdentityScope,
  IdentityVerifier,
  type ServiceName,
} from '@coppice/service-kit';

export class TestIdentities {
  readonly privateKey: string;
  readonly issuer: IdentityIssuer;
  readonly verifier: IdentityVerifier;

  constructor(privateKey = generateIdentityKey()) {
    this.privateKey = privateKey;
    this.issuer = new IdentityIssuer(privateKey);
    this.verifier = new IdentityVerifier(this.issuer.publicKey);
  }

  token(service: ServiceName, scope: IdentityScope = {}): string {
    return this.issuer.issue(service, scope);
  }

  /** For `connect`, `grpcServer` and the control-plane. */
  security(service: ServiceName, scope: IdentityScope = {}): Security & { readonly issuer: IdentityIssuer } {
    return {
      issuer: this.issuer,
      token: this.token(service, scope),
      verifier: this.verifier,
      tls: undefined,
    };
  }

  /** Settings of a service that is started as a process. */
  env(service: ServiceName, scope: IdentityScope = {}): Record<string, string> {
    if (service === 'control-plane') return { COPPICE_IDENTITY_PRIVATE_KEY: this.privateKey };
    return {
      COPPICE_IDENTITY_PUBLIC_KEY: this.issuer.publicKey,
      COPPICE_IDENTITY_TOKEN: this.token(service, scope),
    };
  }

  /**
   * A client that calls each method as the first service that its contract lets in; `scope` is what methods that are bound to
   * a node or a timeline are asked with.
   */
  everyone<M extends Methods>(
    contract: ServiceContract<M>,
    address: string,
    scope: IdentityScope = {},
  ): Client<M> {
    const client = connect(contract, { address, security: this.security('operator') });
    const { access } = contract;
    if (access === 'api-key') return client;
    const calls = Object.keys(contract.methods).map((method) => {
      const entry = access[method]!;
      const services: readonly ServiceName[] = 'services' in entry ? entry.services : entry;
      const service = services.find((s) => s !== 'compute' || scope.timeline !== undefined) ?? 'operator';
      return [method, client.as(this.token(service, 'services' in entry ? scope : {}))[method]];
    });
    return { ...client, ...Object.fromEntries(calls) };
  }
}

/** The key of this process's tests. */
export const testIdentities = new TestIdentities();
