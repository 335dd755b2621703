import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { writeDurable } from '@coppice/service-kit';

/** The proxy's TLS certificate on one machine: self-signed, made once, so that `sslmode=require` and SNI work. */
export async function ensureCertificate(
  directory: string,
): Promise<{ readonly certificate: string; readonly key: string }> {
  const paths = { certificate: join(directory, 'proxy.crt'), key: join(directory, 'proxy.key') };
  if (existsSync(paths.certificate) && existsSync(paths.key)) return paths;
  const notAfterDate = new Date(Date.now() + 10 * 365 * 86_400_000);
  const pems = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    notAfterDate,
    algorithm: 'sha256',
    extensions: [
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 2, value: '*.localhost' },
          { type: 7, ip: '127.0.0.1' },
        ],
      },
    ],
  });
  await writeDurable(paths.key, pems.private);
  await writeDurable(paths.certificate, pems.cert);
  return paths;
}
