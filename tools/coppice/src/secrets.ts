import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { writeDurable } from '@coppice/service-kit';
import { Problem } from './problem';

export interface Secrets {
  /** The first API key; the control-plane stores its hash. */
  readonly operatorKey: string;
  /** What role passwords are derived from; losing it loses every password. */
  readonly passwordSecret: string;
}

/** Reads the stack's secrets; a stack that `isNew` gets them, durably. Passwords that were given out hang on them. */
export async function loadSecrets(path: string, isNew: boolean): Promise<Secrets> {
  if (existsSync(path)) return readSecrets(path);
  if (!isNew)
    throw new Problem(
      `${path} is missing, and the data beside it needs it: put it back from a backup (without it every password changes)`,
    );
  const secrets: Secrets = {
    operatorKey: `cpk_${randomBytes(24).toString('base64url')}`,
    passwordSecret: randomBytes(32).toString('hex'),
  };
  await writeDurable(path, `${JSON.stringify(secrets, null, 2)}\n`);
  return secrets;
}

function readSecrets(path: string): Secrets {
  let read: Partial<Secrets> | undefined;
  try {
    read = JSON.parse(readFileSync(path, 'utf8')) as Partial<Secrets>;
  } catch (error) {
    if (!(error instanceof SyntaxError))
      throw new Problem(
        `cannot read ${path} (${(error as NodeJS.ErrnoException).code}): mend its permissions`,
      );
  }
  const { operatorKey, passwordSecret } = read ?? {};
  if (typeof operatorKey !== 'string' || typeof passwordSecret !== 'string')
    throw new Problem(`${path} is damaged: put it back from a backup`);
  return { operatorKey, passwordSecret };
}
