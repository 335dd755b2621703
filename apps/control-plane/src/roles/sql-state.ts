/** What PostgreSQL's refusals mean here. */
import { asCoppiceError, CoppiceError } from '@coppice/service-kit';

export const SQLSTATE = {
  duplicateDatabase: '42P04',
  duplicateObject: '42710',
  undefinedObject: '42704',
  undefinedDatabase: '3D000',
  dependentObjects: '2BP01',
  inUse: '55006',
} as const;

/** The SQLSTATE of a statement that PostgreSQL refused. */
export function sqlstateOf(error: unknown): string | undefined {
  return error instanceof CoppiceError ? error.sqlstate : undefined;
}

/** Whether `work` was done; false when PostgreSQL refused it with this state. */
export async function unlessRefused(work: Promise<unknown>, state: string): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (sqlstateOf(asCoppiceError(error)) === state) return false;
    throw error;
  }
}
