/**
 * How bytes are kept private. Unix sockets are in a private directory and carry plain gRPC. TCP carries mutual TLS: both
 * sides show a certificate of the fleet's own authority. Without it only the loopback interface may be used.
 */
import { readFileSync } from 'node:fs';
import { ChannelCredentials, ServerCredentials } from '@grpc/grpc-js';
import { CoppiceError } from '@coppice/service-kit';

/** PEM bytes. */
export interface TlsMaterial {
  /** The authority that all certificates of the fleet come from. */
  readonly ca: Buffer;
  readonly certificate: Buffer;
  readonly key: Buffer;
}

export interface TlsFiles {
  readonly tlsCa: string;
  readonly tlsCertificate: string;
  readonly tlsKey: string;
}

/** Reads the files that settings name; `undefined` when they name none. Throws `Malformed` when some are missing. */
export function readTls({ tlsCa, tlsCertificate, tlsKey }: TlsFiles): TlsMaterial | undefined {
  const named = [tlsCa, tlsCertificate, tlsKey].filter((path) => path !== '').length;
  if (named === 0) return undefined;
  if (named < 3)
    throw new CoppiceError(
      'Malformed',
      'bad-configuration',
      'COPPICE_TLS_CA, COPPICE_TLS_CERTIFICATE and COPPICE_TLS_KEY belong together, and not all are set',
    );
  return { ca: readPem(tlsCa), certificate: readPem(tlsCertificate), key: readPem(tlsKey) };
}

function readPem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CoppiceError(
      'Malformed',
      'bad-configuration',
      `${path} cannot be read (${(error as NodeJS.ErrnoException).code})`,
      { cause: error, remedy: 'Mend the path or its permissions.' },
    );
  }
}

/** Credentials to call `address` with. Throws `tls-required` where tokens would travel in the clear. */
export function channelCredentials(
  address: string,
  tls: Partial<TlsMaterial> | undefined,
): ChannelCredentials {
  if (address.startsWith('unix:')) return ChannelCredentials.createInsecure();
  if (tls) return ChannelCredentials.createSsl(tls.ca, tls.key, tls.certificate);
  if (!isLoopback(address)) throw tlsRequired('calling', address);
  return ChannelCredentials.createInsecure();
}

/** Credentials to listen on `address` with; with TLS, clients must show a certificate, unless `anyone` may call. Throws `tls-required`. */
export function serverCredentials(
  address: string,
  tls: TlsMaterial | undefined,
  { anyone = false } = {},
): ServerCredentials {
  if (address.startsWith('unix:')) return ServerCredentials.createInsecure();
  if (tls)
    return ServerCredentials.createSsl(
      tls.ca,
      [{ cert_chain: tls.certificate, private_key: tls.key }],
      !anyone,
    );
  if (!isLoopback(address)) throw tlsRequired('listening on', address);
  return ServerCredentials.createInsecure();
}

function isLoopback(address: string): boolean {
  const host = address.slice(0, Math.max(0, address.lastIndexOf(':')));
  return host === 'localhost' || host === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function tlsRequired(what: string, address: string): CoppiceError {
  return new CoppiceError('Malformed', 'tls-required', `${what} ${address} needs TLS, and none is set up`, {
    remedy:
      'Set COPPICE_TLS_CA, COPPICE_TLS_CERTIFICATE and COPPICE_TLS_KEY, or use a unix: or loopback address.',
  });
}
