import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { writeDurable } from '@coppice/service-kit';

export interface Secrets {
  /** The first API key; the control-plane stores its hash. */
  readonly operatorKey: string;
  /** What role passwords are derived from; losing it loses every password. */
  readonly passwordSecret: string;
}

/** Reads the stack's secrets, or makes them durably on the first start. */
export async function loadSecrets(path: string): Promise<Secrets> {
  if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8')) as Secrets;
  const secrets: Secrets = {
    operatorKey: `cpk_${randomBytes(24).toString('base64url')}`,
    passwordSecret: randomBytes(32).toString('hex'),
  };
  await writeDurable(path, `${JSON.stringify(secrets, null, 2)}\n`);
  return secrets;
}
