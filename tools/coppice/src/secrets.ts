import { createHmac, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { generateIdentityKey, writeDurable } from '@coppice/service-kit';
import { Problem } from './problem';

export interface Secrets {
  /** The first API key; the control-plane stores its hash. */
  readonly operatorKey: string;
  /** What role passwords are derived from; losing it loses every password. */
  readonly passwordSecret: string;
  /** The private key that signs the identities of services; a new one makes all their tokens void. */
  readonly identityKey: string;
}

/**
 * Reads the stack's secrets; a stack that `isNew` gets them, durably. Passwords that were given out hang on them. A stack that
 * has no identity key yet gets one, and keeps all else.
 */
export async function loadSecrets(path: string, isNew: boolean): Promise<Secrets> {
  if (existsSync(path)) return completed(path, readSecrets(path));
  if (!isNew)
    throw new Problem(
      `${path} is missing, and the data beside it needs it: put it back from a backup (without it every password changes)`,
    );
  const secrets: Secrets = {
    operatorKey: `cpk_${randomBytes(24).toString('base64url')}`,
    passwordSecret: randomBytes(32).toString('hex'),
    identityKey: generateIdentityKey(),
  };
  await writeSecrets(path, secrets);
  return secrets;
}

async function completed(path: string, read: Partial<Secrets>): Promise<Secrets> {
  const { operatorKey, passwordSecret, identityKey } = read;
  if (
    typeof operatorKey !== 'string' ||
    typeof passwordSecret !== 'string' ||
    (identityKey !== undefined && typeof identityKey !== 'string')
  )
    throw new Problem(`${path} is damaged: put it back from a backup`);
  const secrets = {
    ...read,
    operatorKey,
    passwordSecret,
    identityKey: identityKey ?? generateIdentityKey(),
  };
  if (identityKey === undefined) await writeSecrets(path, secrets);
  return secrets;
}

async function writeSecrets(path: string, secrets: Secrets): Promise<void> {
  await writeDurable(path, `${JSON.stringify(secrets, null, 2)}\n`);
}

function readSecrets(path: string): Partial<Secrets> {
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as Partial<Secrets> | null) ?? {};
  } catch (error) {
    if (!(error instanceof SyntaxError))
      throw new Problem(
        `cannot read ${path} (${(error as NodeJS.ErrnoException).code}): mend its permissions`,
      );
  }
  return {};
}

/** What the metrics of all services ask for: computes run on the same machine, whose code may be anybody's. */
export function metricsToken({ passwordSecret }: Secrets): string {
  return createHmac('sha256', passwordSecret).update('metrics').digest('hex');
}
