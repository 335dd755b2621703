/**
 * Who a service is, so that others need not believe it: a token signed with the fleet's one Ed25519 key.
 *
 *   v1 . base64url(payload as JSON) . base64url(signature of "coppice-identity.v1." + base64url(payload))
 *
 * The private key is the control-plane's, and the supervisor's at set-up; everybody else has the public key and its own
 * token. `compute` is a compute agent in the name of one compute: such a token opens one timeline. Keys travel in settings,
 * so they are one line: the base64 of their DER form (PKCS #8, SPKI).
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { parseTimelineId, type TimelineId } from '@coppice/vocabulary';
import { type Clock, systemClock } from './clock';
import { CoppiceError } from './errors';

export const SERVICE_NAMES = [
  'control-plane',
  'pageserver',
  'safekeeper',
  'compute-agent',
  'compute',
  'compute-proxy',
  'gateway',
  'reaper',
  'lakehouse-sync',
  'operator',
] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

/** What a token may narrow its bearer to. */
export interface IdentityScope {
  readonly node?: string;
  readonly timeline?: TimelineId;
  readonly compute?: string;
  /** The address whose server alone may believe it, lest a server that is less trusted passes its caller's token off as its own. */
  readonly audience?: string;
  /** Absent: valid as long as the key is. */
  readonly expiresUnixMs?: number;
}

export interface Identity extends IdentityScope {
  readonly service: ServiceName;
  readonly issuedUnixMs: number;
}

const VERSION = 'v1';
const DOMAIN = 'coppice-identity.v1.';
const MAX_TOKEN_CHARACTERS = 2_048;

/** A new private key, as settings hold it. */
export function generateIdentityKey(): string {
  return generateKeyPairSync('ed25519')
    .privateKey.export({ format: 'der', type: 'pkcs8' })
    .toString('base64');
}

/** Reads a private key. Throws `Malformed` for anything but an Ed25519 key. */
export function parseIdentityKey(text: string): KeyObject {
  return ed25519('private', () =>
    createPrivateKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'pkcs8' }),
  );
}

/** Reads a public key. Throws `Malformed` for anything but an Ed25519 key. */
export function parseIdentityPublicKey(text: string): KeyObject {
  return ed25519('public', () =>
    createPublicKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'spki' }),
  );
}

/** The token of an identity. */
export function signIdentity(key: KeyObject, identity: Identity): string {
  const payload = Buffer.from(JSON.stringify(identity)).toString('base64url');
  return `${VERSION}.${payload}.${sign(null, Buffer.from(DOMAIN + payload), key).toString('base64url')}`;
}

/** The identity that a token states, if `key` signed it. Throws `identity-invalid` for any other; whether it has expired is not asked. */
export function verifyIdentity(key: KeyObject, token: string): Identity {
  const [version, payload, signature, ...more] = token.slice(0, MAX_TOKEN_CHARACTERS + 1).split('.');
  if (token.length > MAX_TOKEN_CHARACTERS || version !== VERSION || !payload || !signature || more.length > 0)
    throw invalidIdentity('it has not the form of a token');
  if (!verify(null, Buffer.from(DOMAIN + payload), key, Buffer.from(signature, 'base64url')))
    throw invalidIdentity("it is not signed with this fleet's key");
  return identityOf(JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Partial<Identity>);
}

/** The error of a token that cannot be believed. */
export function invalidIdentity(why: string): CoppiceError {
  return new CoppiceError('Unauthenticated', 'identity-invalid', `the identity token is refused: ${why}`, {
    remedy: "Give the service a token made with the fleet's current key.",
  });
}

/** What was signed may still come from another version of this code. */
function identityOf(payload: Partial<Identity>): Identity {
  const { service, issuedUnixMs, timeline } = payload;
  if (!SERVICE_NAMES.includes(service as ServiceName)) throw invalidIdentity('it names an unknown service');
  if (typeof issuedUnixMs !== 'number') throw invalidIdentity('it does not say when it was issued');
  if (timeline !== undefined && !parseTimelineId(timeline)) throw invalidIdentity('it names no timeline');
  if (service === 'compute' && timeline === undefined)
    throw invalidIdentity('it is of a compute and names no timeline');
  return payload as Identity;
}

function ed25519(which: string, read: () => KeyObject): KeyObject {
  let key: KeyObject | undefined;
  try {
    key = read();
  } catch {
    // Said below, without what OpenSSL calls it.
  }
  if (key?.asymmetricKeyType === 'ed25519') return key;
  throw new CoppiceError(
    'Malformed',
    'bad-configuration',
    `the identity's ${which} key is not an Ed25519 key`,
    {
      remedy: 'Give it as one line, the base64 of its DER form.',
    },
  );
}

/** Issues tokens: whoever holds the private key. */
export class IdentityIssuer {
  readonly #key: KeyObject;
  readonly #clock: Clock;
  /** What others need to believe the tokens. */
  readonly publicKey: string;

  constructor(privateKey: string, clock: Clock = systemClock) {
    this.#key = parseIdentityKey(privateKey);
    this.#clock = clock;
    this.publicKey = createPublicKey(this.#key).export({ format: 'der', type: 'spki' }).toString('base64');
  }

  issue(service: ServiceName, scope: IdentityScope = {}): string {
    return signIdentity(this.#key, { service, issuedUnixMs: this.#clock.now(), ...scope });
  }
}
