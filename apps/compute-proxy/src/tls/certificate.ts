import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import { after, CoppiceError, type Log, type Part } from '@coppice/service-kit';
import { serverEndPointOf } from './server-end-point';

export interface Tls {
  readonly context: SecureContext;
  /** tls-server-end-point of the certificate; `undefined`: its kind has no channel binding. */
  readonly serverEndPoint: Buffer | undefined;
}

/** A certificate and its key, PEM. Throws when they do not belong together, or are none. */
export function tlsOf({ cert, key }: { readonly cert: Buffer; readonly key: Buffer }): Tls {
  const certificate = new X509Certificate(cert);
  // OpenSSL itself compares them only when both are of one kind.
  if (!certificate.checkPrivateKey(createPrivateKey(key)))
    throw new Error('the key does not belong to the certificate');
  return {
    context: createSecureContext({ cert, key, minVersion: 'TLSv1.2' }),
    serverEndPoint: serverEndPointOf(certificate.raw),
  };
}

/** Two files are written one after the other: they are read when nothing has changed for so long, milliseconds. */
const SETTLED_MS = 100;

/** The TLS certificate from two PEM files, read again when they change; a broken new one leaves the old in force. */
export class Certificate {
  #current: Tls | undefined;
  readonly #files: { readonly cert: string; readonly key: string } | undefined;
  readonly #log: Log;

  constructor(cert: string, key: string, log: Log) {
    this.#files = cert === '' ? undefined : { cert, key };
    this.#log = log;
  }

  get current(): Tls | undefined {
    return this.#current;
  }

  /** A part that loads on start and watches until stopped. */
  part(): Part {
    let watchers: FSWatcher[] = [];
    let cancel = (): void => undefined;
    return {
      name: 'certificate',
      start: async () => {
        if (!this.#files) return;
        this.#load(this.#files);
        const onChange = (): void => {
          cancel();
          cancel = after(SETTLED_MS, () => this.#reload());
        };
        const directories = new Set([dirname(this.#files.cert), dirname(this.#files.key)]);
        watchers = [...directories].map((directory) =>
          watch(directory, onChange).on('error', (error) =>
            this.#log.warn({ err: error, directory }, 'certificate is not watched any more'),
          ),
        );
      },
      stop: async () => {
        cancel();
        for (const watcher of watchers) watcher.close();
      },
    };
  }

  #reload(): void {
    try {
      this.#load(this.#files!);
    } catch (error) {
      this.#log.warn({ err: error }, 'new certificate cannot be used, keeps the old one');
    }
  }

  #load(files: { cert: string; key: string }): void {
    try {
      this.#current = tlsOf({ cert: readFileSync(files.cert), key: readFileSync(files.key) });
    } catch (error) {
      throw new CoppiceError(
        'Malformed',
        'bad-certificate',
        `cannot use the certificate ${files.cert}: ${(error as Error).message}`,
        { remedy: 'Name a PEM certificate and its key.', cause: error },
      );
    }
  }
}
