import { BadMessage, BadStartup, writeError } from '@coppice/postgres';
import { asCoppiceError, CoppiceError, ERROR_KINDS, type Log, shownOutside } from '@coppice/service-kit';
import { ServerRefused } from './compute-connection';

/** The PostgreSQL error that ends a session. */
export function lastWords(error: unknown, log: Log): Buffer {
  if (error instanceof ServerRefused) return error.response;
  if (error instanceof BadStartup || error instanceof BadMessage)
    return writeError({ severity: 'FATAL', code: '08P01', message: error.message });
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return writeError({
      severity: 'FATAL',
      code: '57P03',
      message: 'the compute did not start in time',
      hint: 'Try again.',
    });
  }
  const known = asCoppiceError(error);
  if (known.kind === 'Internal') log.error({ err: error }, 'session fails');
  const shown = shownOutside(known);
  return writeError({
    severity: 'FATAL',
    code: known.sqlstate ?? ERROR_KINDS[known.kind].sqlstate,
    message: shown.message,
    hint: shown.remedy,
  });
}

export function credentialEnded(role: string): CoppiceError {
  return new CoppiceError(
    'Unauthenticated',
    'credential-ended',
    `the credential of user "${role}" was revoked or expired`,
    { remedy: 'Make a new one.' },
  );
}
