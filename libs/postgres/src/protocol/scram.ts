/**
 * SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677; channel binding tls-server-end-point, RFC 5929). PostgreSQL's own
 * is src/backend/libpq/auth-scram.c. The server holds a verifier only, never the password.
 *
 *   client-first  n,,n=,r=<nonce>            server-first  r=<nonce><more>,s=<salt>,i=<iterations>
 *   client-final  c=<binding>,r=…,p=<proof>  server-final  v=<signature>
 */
import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

export interface ScramVerifier {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

export const SCRAM = 'SCRAM-SHA-256';
export const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS';

const hmac = (key: Buffer, data: string | Buffer): Buffer => createHmac('sha256', key).update(data).digest();
const sha256 = (data: Buffer): Buffer => createHash('sha256').update(data).digest();

/** The verifier of a password; PBKDF2 runs on the thread pool. ASCII passwords only (ours are): SASLprep is the identity. */
export async function deriveVerifier(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<ScramVerifier> {
  const salted = await promisify(pbkdf2)(password, salt, iterations, 32, 'sha256');
  return {
    iterations,
    salt,
    storedKey: sha256(hmac(salted, 'Client Key')),
    serverKey: hmac(salted, 'Server Key'),
  };
}

/** Whether a password that came in clear matches. */
export async function passwordMatches(password: string, verifier: ScramVerifier): Promise<boolean> {
  const derived = await deriveVerifier(password, verifier.salt, verifier.iterations);
  return timingSafeEqual(derived.storedKey, verifier.storedKey);
}

/** The client broke the protocol; the text is for its error message. */
export class BadScram extends Error {}

export interface ScramChallenge {
  readonly serverFirst: string;
  readonly clientFirstBare: string;
  readonly gs2Header: string;
  readonly nonce: string;
}

export interface ChannelBinding {
  /** Hash of the server's certificate (tls-server-end-point); `undefined` without TLS. */
  readonly serverEndPoint: Buffer | undefined;
  /** Which mechanism the client chose. */
  readonly mechanism: string;
}

/** Answers the client's first message. `salt` and `iterations` are those of the verifiers that will be tried. */
export function answerClientFirst(
  clientFirst: string,
  options: {
    readonly salt: Buffer;
    readonly iterations: number;
    readonly serverNonce: string;
    readonly binding: ChannelBinding;
  },
): ScramChallenge {
  const match = /^((?:n|y|p=([a-z-]+)),(?:a=[^,]*)?,)(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+))(?:,.*)?$/s.exec(
    clientFirst,
  );
  if (!match) throw new BadScram('malformed SCRAM message: unexpected client-first-message');
  const [, gs2Header, bindingName, bare, clientNonce] = match as unknown as [
    string,
    string,
    string | undefined,
    string,
    string,
  ];
  const plus = options.binding.mechanism === SCRAM_PLUS;
  if (bindingName !== undefined && !plus)
    throw new BadScram('malformed SCRAM message: channel binding without SCRAM-SHA-256-PLUS');
  if (plus && bindingName === undefined)
    throw new BadScram('malformed SCRAM message: SCRAM-SHA-256-PLUS without channel binding');
  if (bindingName !== undefined && bindingName !== 'tls-server-end-point')
    throw new BadScram(`unsupported SCRAM channel-binding type "${bindingName}"`);
  if (gs2Header.startsWith('y') && options.binding.serverEndPoint) {
    throw new BadScram(
      'SCRAM channel binding negotiation error: the client supports it and thinks the server does not',
    );
  }
  const nonce = clientNonce + options.serverNonce;
  const serverFirst = `r=${nonce},s=${options.salt.toString('base64')},i=${options.iterations}`;
  return { serverFirst, clientFirstBare: bare, gs2Header, nonce };
}

/**
 * Checks the client's proof against each verifier (all with the challenge's salt and iterations). Gives the matching
 * verifier's index and the server's final message; `undefined` when none matches.
 */
export function checkClientFinal(
  clientFinal: string,
  challenge: ScramChallenge,
  verifiers: readonly ScramVerifier[],
  binding: ChannelBinding,
): { readonly index: number; readonly serverFinal: string } | undefined {
  const match = /^(c=([A-Za-z0-9+/=]+),r=([^,]+)(?:,.*)?),p=([A-Za-z0-9+/=]+)$/s.exec(clientFinal);
  if (!match) throw new BadScram('malformed SCRAM message: unexpected client-final-message');
  const [, withoutProof, bindingText, nonce, proofText] = match as unknown as [
    string,
    string,
    string,
    string,
    string,
  ];
  if (nonce !== challenge.nonce) throw new BadScram('invalid SCRAM response: nonce does not match');
  const bindingData = challenge.gs2Header.startsWith('p=')
    ? (binding.serverEndPoint ?? Buffer.alloc(0))
    : Buffer.alloc(0);
  const expected = Buffer.concat([Buffer.from(challenge.gs2Header), bindingData]).toString('base64');
  if (bindingText !== expected) throw new BadScram('SCRAM channel binding check failed');
  const proof = Buffer.from(proofText, 'base64');
  if (proof.length !== 32) throw new BadScram('malformed SCRAM message: malformed proof');
  const authMessage = `${challenge.clientFirstBare},${challenge.serverFirst},${withoutProof}`;
  for (const [index, { storedKey, serverKey }] of verifiers.entries()) {
    const signature = hmac(storedKey, authMessage);
    const clientKey = Buffer.alloc(32);
    for (let i = 0; i < 32; i += 1) clientKey[i] = proof[i]! ^ signature[i]!;
    if (timingSafeEqual(sha256(clientKey), storedKey))
      return { index, serverFinal: `v=${hmac(serverKey, authMessage).toString('base64')}` };
  }
  return undefined;
}
