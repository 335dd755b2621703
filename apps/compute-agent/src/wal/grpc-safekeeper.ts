import type { AcceptorMessage, ProposerMessage } from '@coppice/consensus';
import { acceptorFromWire, type Client, type MessageStream, proposerToWire, type safekeeperContract } from '@coppice/contracts';
import type { Lsn, NodeId, TimelineId } from '@coppice/vocabulary';
import type { SafekeeperPort, UncommittedRead } from './safekeeper-port';

export type SafekeeperClient = Client<(typeof safekeeperContract)['methods']>;

export interface GrpcSafekeeperOptions {
  readonly node: NodeId;
  readonly client: SafekeeperClient;
  readonly timeline: TimelineId;
  /** How far the pageserver has ingested, as this safekeeper last heard. */
  readonly onPageserver: (ingested: Lsn) => void;
}

/** A safekeeper over gRPC, for one timeline. */
export function grpcSafekeeper({ node, client, timeline, onPageserver }: GrpcSafekeeperOptions): SafekeeperPort {
  return {
    node,
    open: () => {
      const wire = client.propose();
      const stream: MessageStream<ProposerMessage, AcceptorMessage> = {
        ...wire,
        send: (message) => wire.send(proposerToWire(message)),
        onMessage: (handler) =>
          wire.onMessage((received) => {
            try {
              const { message, pageserver } = acceptorFromWire(received);
              if (pageserver) onPageserver(pageserver.ingestedLsn);
              handler(message);
            } catch (error) {
              wire.cancel(error);
            }
          }),
      };
      return stream;
    },
    read: async function* ({ from, until, term, signal }: UncommittedRead) {
      const request = { timelineId: timeline, fromLsn: from, untilLsn: until, uncommitted: true, term };
      for await (const chunk of client.readWal(request, { signal })) if (chunk.wal.length > 0) yield chunk.wal;
    },
  };
}
