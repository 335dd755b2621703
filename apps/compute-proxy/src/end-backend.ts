/**
 * Ends a backend whatever it does. Closing its connection is not enough: PostgreSQL notices that only when it next writes to its
 * client, so that a long statement would go on, and commit, in the name of a credential that is over; and a function may catch
 * a cancellation. Nothing in SQL catches a termination.
 */
import { writeMessage } from '@coppice/postgres';
import { Batches, CoppiceError, withDeadline } from '@coppice/service-kit';
import { type ComputeAddress, openCompute } from './compute-connection';

/** May end any session of a compute. */
const ADMIN = { user: 'coppice_admin', database: 'postgres', application_name: 'coppice-proxy' };
const DEADLINE_MS = 3_000;

interface Ending {
  readonly address: ComputeAddress;
  readonly backendPid: number;
}

/** One session of a compute at a time tells all of its backends that are to end: it may have no room for one each. */
const endings = new Batches<Ending, void>({
  keyOf: ({ address }) => `${address.socketDirectory} ${address.port}`,
  run: (batch) => {
    const told = endBackends(
      batch[0]!.address,
      batch.map(({ backendPid }) => backendPid),
    );
    return batch.map(() => told);
  },
  maxBatch: 1_000,
});

/** Resolves when the backend was told to end; rejects when it cannot be told, or too many are being told already. */
export function endBackend(address: ComputeAddress, backendPid: number): Promise<void> {
  return endings.add({ address, backendPid });
}

async function endBackends(address: ComputeAddress, pids: readonly number[]): Promise<void> {
  const signal = withDeadline(DEADLINE_MS);
  const session = { parameters: Object.entries(ADMIN), readOnly: false };
  const { socket } = await openCompute(address, session, signal);
  try {
    await new Promise<void>((resolve, reject) => {
      const refused = (cause?: unknown): void =>
        reject(
          new CoppiceError(
            'Unavailable',
            'backend-not-ended',
            `backends ${pids.join(', ')} cannot be told to end`,
            { remedy: 'Suspend the compute to end all of its sessions.', cause },
          ),
        );
      socket.on('error', refused);
      signal.addEventListener('abort', () => refused(signal.reason), { once: true });
      // The server closes the connection when it has run the statement before the Terminate message.
      socket.once('close', resolve);
      socket.resume();
      const sql = `select pg_catalog.pg_terminate_backend(pid) from pg_catalog.unnest('{${pids.join()}}'::pg_catalog.int4[]) as pid`;
      socket.write(Buffer.concat([writeMessage('Q', Buffer.from(`${sql}\0`)), writeMessage('X')]));
    });
  } finally {
    socket.destroy();
  }
}
