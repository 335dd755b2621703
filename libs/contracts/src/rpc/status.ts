/** Errors over gRPC: kind as status; code, remedy and SQLSTATE as trailing metadata; back again on the client. */
import type { ServiceError, StatusObject } from '@grpc/grpc-js';
import { Metadata, status } from '@grpc/grpc-js';
import type { ErrorKind } from '@coppice/service-kit';
import { asCoppiceError, CoppiceError, ERROR_KINDS } from '@coppice/service-kit';

const KIND = 'coppice-kind';
const CODE = 'coppice-code';
const REMEDY = 'coppice-remedy-bin';
const SQLSTATE = 'coppice-sqlstate';

export function toStatus(
  error: unknown,
): Partial<StatusObject> & { code: number; details: string; metadata: Metadata } {
  const known = asCoppiceError(error);
  const metadata = new Metadata();
  metadata.set(KIND, known.kind);
  metadata.set(CODE, known.code);
  if (known.remedy) metadata.set(REMEDY, Buffer.from(known.remedy, 'utf8'));
  if (known.sqlstate) metadata.set(SQLSTATE, known.sqlstate);
  return { code: ERROR_KINDS[known.kind].grpc, details: known.message, metadata };
}

export function fromStatus(error: unknown, method: string): CoppiceError {
  if (error instanceof CoppiceError) return error;
  const { code, details, metadata } = error as ServiceError;
  const kind = metadata?.get(KIND)[0]?.toString();
  if (kind !== undefined && kind in ERROR_KINDS) {
    const remedy = metadata.get(REMEDY)[0]?.toString();
    const sqlstate = metadata.get(SQLSTATE)[0]?.toString();
    const stable = metadata.get(CODE)[0]?.toString() ?? 'unknown';
    return new CoppiceError(kind as ErrorKind, stable, details, {
      cause: error,
      ...(remedy ? { remedy } : {}),
      ...(sqlstate ? { sqlstate } : {}),
    });
  }
  switch (code) {
    case status.CANCELLED:
      return new CoppiceError('Unavailable', 'cancelled', `${method} was cancelled`, { cause: error });
    case status.DEADLINE_EXCEEDED:
      return new CoppiceError('Unavailable', 'deadline-exceeded', `${method} did not answer in time`, {
        cause: error,
      });
    case status.UNIMPLEMENTED:
      return new CoppiceError('Internal', 'unimplemented', `${method} is not served by the peer`, {
        cause: error,
      });
    default:
      return new CoppiceError('Unavailable', 'peer-unavailable', `${method}: ${details ?? String(error)}`, {
        cause: error,
      });
  }
}
