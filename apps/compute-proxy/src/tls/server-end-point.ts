/**
 * Channel binding `tls-server-end-point` (RFC 5929, section 4.1): a hash of the server's certificate, made with the hash function of
 * the certificate's signature, or SHA-256 where that is MD5 or SHA-1. A signature without such a function, as of Ed25519, has no
 * channel binding. PostgreSQL's own is pgtls_get_peer_certificate_hash, src/interfaces/libpq/fe-secure-openssl.c.
 *
 *   Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm AlgorithmIdentifier, signature BIT STRING }
 *   AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
 *   RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] AlgorithmIdentifier DEFAULT sha1, … }
 */
import { createHash } from 'node:crypto';
import { ByteReader } from '@coppice/bytes';

const SEQUENCE = 0x30;
const CONTEXT_0 = 0xa0;

/** Contents of object identifiers, in hexadecimal. */
const RSASSA_PSS = '2a864886f70d01010a';
const HASH_OF_SIGNATURE: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'md5', // RSA, PKCS #1 v1.5, as the next
  '2a864886f70d010105': 'sha1',
  '2a864886f70d01010e': 'sha224',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d0401': 'sha1', // ECDSA, as the next
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
};
const HASH: Readonly<Record<string, string>> = {
  '2b0e03021a': 'sha1',
  '608648016503040204': 'sha224',
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
};
/** Are not relied on any more. */
const WEAK: ReadonlySet<string> = new Set(['md5', 'sha1']);

/** The binding of a certificate in DER; `undefined` when there is none for signatures of its kind. */
export function serverEndPointOf(certificate: Buffer): Buffer | undefined {
  const hash = signatureHash(certificate);
  if (hash === undefined) return undefined;
  return createHash(WEAK.has(hash) ? 'sha256' : hash)
    .update(certificate)
    .digest();
}

function signatureHash(certificate: Buffer): string | undefined {
  const fields = new ByteReader(element(new ByteReader(certificate)).content);
  element(fields);
  const { algorithm, parameters } = algorithmOf(element(fields).content);
  if (algorithm !== RSASSA_PSS) return HASH_OF_SIGNATURE[algorithm];
  if (parameters?.tag !== SEQUENCE) return undefined;
  const first = optionalElement(new ByteReader(parameters.content));
  if (first?.tag !== CONTEXT_0) return 'sha1';
  return HASH[algorithmOf(element(new ByteReader(first.content)).content).algorithm];
}

interface Element {
  readonly tag: number;
  readonly content: Buffer;
}

function algorithmOf(content: Buffer): {
  readonly algorithm: string;
  readonly parameters: Element | undefined;
} {
  const fields = new ByteReader(content);
  const algorithm = element(fields).content.toString('hex');
  return { algorithm, parameters: optionalElement(fields) };
}

function optionalElement(reader: ByteReader): Element | undefined {
  return reader.remaining > 0 ? element(reader) : undefined;
}

/** Lengths below 128 are in the byte itself; else it says how many bytes the length has. */
function element(reader: ByteReader): Element {
  const tag = reader.u8();
  let length = reader.u8();
  if (length >= 0x80) length = reader.take(length & 0x7f).reduce((sum, byte) => sum * 256 + byte, 0);
  return { tag, content: reader.take(length) };
}
