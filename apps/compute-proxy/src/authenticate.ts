/** Shows that the client knows a password of the role: SCRAM-SHA-256 (with channel binding over TLS), or cleartext where the endpoint comes with the password and over WebSocket. */
import { createHmac } from 'node:crypto';
import { ByteReader, ByteWriter, EndOfBytes } from '@coppice/bytes';
import type { Login, ScramVerifierMessage } from '@coppice/contracts';
import type { ScramVerifier } from '@coppice/postgres';
import {
  answerClientFirst,
  Auth,
  BadScram,
  checkClientFinal,
  passwordMatches,
  readMessage,
  SCRAM,
  SCRAM_PLUS,
  writeAuthentication,
} from '@coppice/postgres';
import type { Random } from '@coppice/service-kit';
import { CoppiceError } from '@coppice/service-kit';
import type { ClientStream } from './client-stream';
import { type NamedEndpoint, splitPassword } from './route';

/** Longest message that a client may send before it is authenticated. */
const MAX_AUTH_BYTES = 16 * 1024;

export interface LoginLookup {
  (endpoint: string): Promise<Login>;
}

/** Who is in: the endpoint that was meant, and the credential that the client showed. */
export interface Authenticated extends NamedEndpoint {
  readonly credential: ScramVerifierMessage;
}

export interface AuthenticateOptions {
  readonly client: ClientStream;
  readonly role: string;
  readonly lookUp: LoginLookup;
  readonly random: Random;
  /** Of the server's certificate, when the connection is TLS and it has one. */
  readonly serverEndPoint: Buffer | undefined;
  /** Makes the salts shown for unknown roles; stable per process, so that they look like real ones. */
  readonly mockSecret: Buffer;
}

export const WRONG_PASSWORD = 'wrong-password';

export function wrongPassword(role: string): CoppiceError {
  return new CoppiceError(
    'Unauthenticated',
    WRONG_PASSWORD,
    `password authentication failed for user "${role}"`,
  );
}

/** By SCRAM, for an endpoint that is known from the host or the options. Gives the credential that the client showed. */
export async function authenticateByScram(
  endpoint: string,
  options: AuthenticateOptions,
): Promise<ScramVerifierMessage> {
  const { client, role, random, serverEndPoint } = options;
  const { verifiers } = await options.lookUp(endpoint);
  const salt = verifiers[0]?.salt ?? mockSalt(options.mockSecret, endpoint, role);
  const iterations = verifiers[0]?.iterations ?? 4096;
  const mechanisms = serverEndPoint ? [SCRAM_PLUS, SCRAM] : [SCRAM];
  const offer = new ByteWriter();
  for (const mechanism of mechanisms) offer.cstring(mechanism);
  client.write(writeAuthentication(Auth.sasl, offer.u8(0).finish()));
  try {
    const first = readSaslInitial(await readPassword(client));
    if (!mechanisms.includes(first.mechanism))
      throw new BadScram('client selected an invalid SASL authentication mechanism');
    const binding = { serverEndPoint, mechanism: first.mechanism };
    const challenge = answerClientFirst(first.data.toString('utf8'), {
      salt,
      iterations,
      serverNonce: random.bytes(18).toString('base64'),
      binding,
    });
    client.write(writeAuthentication(Auth.saslContinue, Buffer.from(challenge.serverFirst)));
    const final = (await readPassword(client)).toString('utf8');
    const matched = checkClientFinal(final, challenge, verifiers as readonly ScramVerifier[], binding);
    if (!matched) throw wrongPassword(role);
    client.write(writeAuthentication(Auth.saslFinal, Buffer.from(matched.serverFinal)));
    return verifiers[matched.index]!;
  } catch (error) {
    if (error instanceof BadScram)
      throw new CoppiceError('Malformed', 'bad-scram', error.message, { cause: error });
    throw error;
  }
}

/** In clear: the password names the endpoint where nothing else did. Gives it, and the credential that the client showed. */
export async function authenticateInClear(
  options: AuthenticateOptions,
  known?: NamedEndpoint,
): Promise<Authenticated> {
  const { client, role } = options;
  client.write(writeAuthentication(Auth.cleartext));
  const sent = await readPassword(client);
  const nul = sent.indexOf(0);
  const text = sent.toString('utf8', 0, nul < 0 ? sent.length : nul);
  const { endpoint, pooled, password } = known ? { ...known, password: text } : splitPassword(text);
  const { verifiers } = await options.lookUp(endpoint);
  for (const credential of verifiers)
    if (await passwordMatches(password, credential)) return { endpoint, pooled, credential };
  throw wrongPassword(role);
}

async function readPassword(client: ClientStream): Promise<Buffer> {
  const { message } = await client.read((bytes) => readMessage(bytes, MAX_AUTH_BYTES));
  if (message.type !== 'p')
    throw new CoppiceError(
      'Malformed',
      'protocol-violation',
      `expected a password message, got message type "${message.type}"`,
    );
  return message.body;
}

function readSaslInitial(body: Buffer): { mechanism: string; data: Buffer } {
  try {
    const reader = new ByteReader(body);
    const mechanism = reader.cstring();
    return { mechanism, data: reader.take(reader.i32be()) };
  } catch (error) {
    if (error instanceof EndOfBytes) throw new BadScram('malformed SASL initial response');
    throw error;
  }
}

function mockSalt(secret: Buffer, endpoint: string, role: string): Buffer {
  return createHmac('sha256', secret).update(`${endpoint}\0${role}`).digest().subarray(0, 16);
}
