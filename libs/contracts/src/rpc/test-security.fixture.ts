/** For specs of this library, which cannot use the one of libs/testing: a key, and tokens made with it. */
import {
  generateIdentityKey,
  IdentityIssuer,
  type IdentityScope,
  IdentityVerifier,
  type ServiceName,
} from '@coppice/service-kit';
import type { Security } from './security';
import type { TlsMaterial } from './transport';

export const issuer = new IdentityIssuer(generateIdentityKey());

export function tokenFor(service: ServiceName, scope: IdentityScope = {}): string {
  return issuer.issue(service, scope);
}

export function securityFor(service: ServiceName, tls?: TlsMaterial): Security {
  return { token: tokenFor(service), verifier: new IdentityVerifier(issuer.publicKey), tls };
}
