import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Stack } from '../stack/stack';
import { TestIdentities } from './test-identities';

/** Identities that a running stack believes: made with the key among its secrets. */
export function stackIdentities(stack: Stack): TestIdentities {
  const secrets = readFileSync(join(stack.dataDirectory, 'secrets.json'), 'utf8');
  return new TestIdentities((JSON.parse(secrets) as { identityKey: string }).identityKey);
}
