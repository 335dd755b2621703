import { X509Certificate } from 'node:crypto';
import { readFileSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Log, Part } from '@coppice/service-kit';
import { CoppiceError } from '@coppice/service-kit';
import { serverEndPointOf } from './authenticate';
import type { Tls } from './session';

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
    let stop = (): void => undefined;
    return {
      name: 'certificate',
      start: async () => {
        if (!this.#files) return;
        this.#load(this.#files);
        const watcher = watch(dirname(this.#files.cert), () => this.#reload());
        stop = () => watcher.close();
      },
      stop: async () => stop(),
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
      const cert = readFileSync(files.cert);
      this.#current = {
        context: createSecureContext({ cert, key: readFileSync(files.key), minVersion: 'TLSv1.2' }),
        serverEndPoint: serverEndPointOf(new X509Certificate(cert).raw),
      };
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
