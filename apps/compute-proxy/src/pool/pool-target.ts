import type { ScramVerifierMessage } from '@coppice/contracts';
import { formatLsn } from '@coppice/vocabulary';
import type { Opening, When } from '../when';

/**
 * What a server connection is for. Two clients may use the same connection one after the other only when all of this is equal:
 * the credential they showed, not merely the role, so that what one credential left behind never meets another.
 */
export interface PoolTarget {
  readonly key: string;
  readonly endpoint: string;
  readonly credentialId: string;
  readonly expiresUnixMs: number;
  readonly readOnly: boolean;
  /** At which point of its history; absent: as it is now. */
  readonly when?: When | undefined;
  /** Of the startup packet, with `user` and `database`: PostgreSQL takes them as the session's defaults. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Many clients name themselves differently; it is set anew for each of them instead. */
export const APPLICATION_NAME = 'application_name';

export function poolTarget(
  endpoint: string,
  credential: Pick<ScramVerifierMessage, 'credentialId' | 'expiresUnixMs' | 'readOnly'>,
  startup: ReadonlyMap<string, string>,
  { when, readOnly: onlyReads }: Opening = { when: undefined, readOnly: false },
): PoolTarget {
  const { credentialId, expiresUnixMs } = credential;
  const readOnly = credential.readOnly || onlyReads;
  const parameters = new Map([...startup].filter(([name]) => name !== APPLICATION_NAME));
  const at = when?.lsn === undefined ? when?.timestampUnixMicros : formatLsn(when.lsn);
  const key = JSON.stringify([endpoint, credentialId, readOnly, at, [...parameters].sort()]);
  return { key, endpoint, credentialId, expiresUnixMs, readOnly, when, parameters };
}
