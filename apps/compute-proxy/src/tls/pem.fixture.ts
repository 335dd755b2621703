/** Self-signed certificates for tests, as PEM files. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';

export interface Pem {
  readonly cert: string;
  readonly key: string;
}

const KEYS = {
  ecdsa: ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
  rsa: ['rsa:2048'],
  'rsa-pss': ['rsa:2048', '-sigopt', 'rsa_padding_mode:pss'],
  ed25519: ['ed25519'],
} as const;

/** A new certificate for `localhost` in a directory of its own below `directory`. */
export function makePem(
  directory: string,
  { key = 'ecdsa', hash = 'sha256' }: { readonly key?: keyof typeof KEYS; readonly hash?: string } = {},
): Pem {
  const own = mkdtempSync(join(directory, 'pem-'));
  const pem = { cert: join(own, 'c.pem'), key: join(own, 'k.pem') };
  const files = ['-keyout', pem.key, '-out', pem.cert];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      ...KEYS[key],
      '-nodes',
      ...(key === 'ed25519' ? [] : [`-${hash}`]),
      '-subj',
      '/CN=localhost',
      '-days',
      '2',
      ...files,
    ],
    { stdio: 'ignore' },
  );
  return pem;
}
