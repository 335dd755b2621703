/** What a service proves itself with, believes others by, and keeps its TCP connections private with; and the settings of it. */
import {
  type Clock,
  type Config,
  configTable,
  CoppiceError,
  IdentityIssuer,
  IdentityVerifier,
  type ServiceName,
  systemClock,
} from '@coppice/service-kit';
import { readTls, type TlsMaterial } from './transport';

/** The request header that carries the caller's token. */
export const IDENTITY_HEADER = 'coppice-identity';

/** The request header in which the gateway tells where its client is. */
export const CLIENT_ADDRESS_HEADER = 'coppice-client-address';

export interface ClientSecurity {
  /** The caller's identity token. */
  readonly token: string;
  readonly tls: TlsMaterial | undefined;
}

/** Of a caller that may be no service: it has no token and no certificate, and shows an API key instead. */
export interface CallerSecurity {
  readonly token?: string;
  /** Without an authority, those that Node.js trusts. */
  readonly tls: Partial<TlsMaterial> | undefined;
}

export interface ServerSecurity {
  readonly verifier: IdentityVerifier;
  readonly tls: TlsMaterial | undefined;
}

/** Of a service that calls and is called. */
export type Security = ClientSecurity & ServerSecurity;

const TLS_CONFIG = configTable({
  tlsCa: {
    env: 'COPPICE_TLS_CA',
    type: 'string',
    default: '',
    about:
      "PEM file of the authority of the fleet's certificates; empty: no TLS, unix: and loopback addresses only.",
  },
  tlsCertificate: {
    env: 'COPPICE_TLS_CERTIFICATE',
    type: 'string',
    default: '',
    about: "PEM file of this service's certificate, which names the host of its address.",
  },
  tlsKey: {
    env: 'COPPICE_TLS_KEY',
    type: 'string',
    default: '',
    about: "PEM file of the certificate's key.",
  },
});

/** Settings of a service that only calls others. */
export const CLIENT_SECURITY_CONFIG = configTable({
  identityToken: {
    env: 'COPPICE_IDENTITY_TOKEN',
    type: 'secret',
    about: "Token that tells other services who this one is, made with the fleet's private key.",
  },
  ...TLS_CONFIG,
});

/** Settings of a service that is called. */
export const SECURITY_CONFIG = configTable({
  identityPublicKey: {
    env: 'COPPICE_IDENTITY_PUBLIC_KEY',
    type: 'string',
    about: 'Public key by which tokens of callers are believed: the base64 of its SPKI form.',
  },
  ...CLIENT_SECURITY_CONFIG,
});

/** Settings of the service that issues tokens. */
export const ISSUER_SECURITY_CONFIG = configTable({
  identityPrivateKey: {
    env: 'COPPICE_IDENTITY_PRIVATE_KEY',
    type: 'secret',
    about: "The fleet's Ed25519 key, which signs all tokens: the base64 of its PKCS #8 form.",
  },
  ...TLS_CONFIG,
});

export function clientSecurityOf(config: Config<typeof CLIENT_SECURITY_CONFIG>): ClientSecurity {
  return { token: config.identityToken, tls: readTls(config) };
}

/** Throws `Malformed` when the service's own token is not one of it. */
export function securityOf(config: Config<typeof SECURITY_CONFIG>, service: ServiceName): Security {
  const verifier = new IdentityVerifier(config.identityPublicKey);
  let named: string;
  try {
    named = verifier.verify(config.identityToken).service;
  } catch (error) {
    throw new CoppiceError(
      'Malformed',
      'bad-configuration',
      `COPPICE_IDENTITY_TOKEN does not fit COPPICE_IDENTITY_PUBLIC_KEY: ${(error as Error).message}`,
      { cause: error },
    );
  }
  if (named !== service)
    throw new CoppiceError(
      'Malformed',
      'bad-configuration',
      `COPPICE_IDENTITY_TOKEN is of ${named}, this is ${service}`,
    );
  return { ...clientSecurityOf(config), verifier };
}

/** Of the service that holds the private key and so makes its own token. */
export function issuerSecurityOf(
  config: Config<typeof ISSUER_SECURITY_CONFIG>,
  service: ServiceName,
  clock: Clock = systemClock,
): Security & { readonly issuer: IdentityIssuer } {
  const issuer = new IdentityIssuer(config.identityPrivateKey, clock);
  const verifier = new IdentityVerifier(issuer.publicKey, clock);
  return { issuer, verifier, token: issuer.issue(service), tls: readTls(config) };
}
