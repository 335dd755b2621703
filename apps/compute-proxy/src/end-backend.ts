/**
 * Ends a backend whatever it does. Closing its connection is not enough: PostgreSQL notices that only when it next writes to its
 * client, so that a long statement would go on, and commit, in the name of a credential that is over; and a function may catch
 * a cancellation. Nothing in SQL catches a termination.
 */
import { writeMessage } from '@coppice/postgres';
import { CoppiceError, withDeadline } from '@coppice/service-kit';
import { type ComputeAddress, openCompute } from './compute-connection';

/** May end any session of a compute. */
const ADMIN = { user: 'coppice_admin', database: 'postgres', application_name: 'coppice-proxy' };
const DEADLINE_MS = 3_000;

/** Resolves when the backend was told to end. */
export async function endBackend(address: ComputeAddress, backendPid: number): Promise<void> {
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
            `backend ${backendPid} cannot be told to end`,
            {
              remedy: 'Suspend the compute to end all of its sessions.',
              cause,
            },
          ),
        );
      socket.on('error', refused);
      signal.addEventListener('abort', () => refused(signal.reason), { once: true });
      // The server closes the connection when it has run the statement before the Terminate message.
      socket.once('close', resolve);
      socket.resume();
      const query = Buffer.from(`select pg_catalog.pg_terminate_backend(${backendPid})\0`);
      socket.write(Buffer.concat([writeMessage('Q', query), writeMessage('X')]));
    });
  } finally {
    socket.destroy();
  }
}
