import {
  acceptorToWire,
  proposerFromWire,
  type AcceptorWireMessage,
  type MessageStream,
  type ProposerWireMessage,
} from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { lsn } from '@coppice/vocabulary';
import type { Timeline } from '../timelines/timeline';
import type { Timelines } from '../timelines/timelines';

const NO_PAGESERVER = { ingestedLsn: lsn(0), durableLsn: lsn(0) };

/** One proposer's stream: the greeting finds the timeline, everything then goes to its acceptor. */
export async function propose(
  timelines: Timelines,
  stream: MessageStream<AcceptorWireMessage, ProposerWireMessage>,
): Promise<void> {
  let timeline: Timeline | undefined;
  let release = (): void => undefined;
  const onLost = (): void => stream.cancel(timeline?.over.reason);

  const open = (first: ReturnType<typeof proposerFromWire>): Timeline => {
    if (first.kind !== 'greeting')
      throw new CoppiceError('Malformed', 'greeting-first', 'the first message is not a greeting');
    const opened = timelines.greet(first);
    release = opened.use();
    opened.over.addEventListener('abort', onLost, { once: true });
    return opened;
  };
  const send = (message: AcceptorWireMessage): void => {
    if (stream.send(message)) return;
    stream.pause();
    void stream.drained().then(() => stream.resume());
  };

  stream.onMessage((wire) => {
    const message = proposerFromWire(wire);
    const refusal = timeline === undefined && message.kind === 'greeting' && timelines.refusalOf(message);
    if (refusal) return send(acceptorToWire(refusal, NO_PAGESERVER));
    timeline ??= open(message);
    const { pageserver } = timeline;
    timeline.receive({ message, answer: (reply) => send(acceptorToWire(reply, pageserver)) });
  });
  try {
    await stream.closed;
    await timeline?.drained();
  } finally {
    timeline?.over.removeEventListener('abort', onLost);
    release();
    timeline?.saveCommit();
  }
}
