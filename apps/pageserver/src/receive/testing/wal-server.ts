import { grpcServer, safekeeperContract, serve } from '@coppice/contracts';
import type { CallContext } from '@coppice/contracts';
import type { Part } from '@coppice/service-kit';
import { CoppiceError, silentLog } from '@coppice/service-kit';
import { testIdentities } from '@coppice/testing';
import type { TimelineId } from '@coppice/vocabulary';
import { lsn as toLsn, toLsnNumber } from '@coppice/vocabulary';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ServedWal {
  readonly timeline: TimelineId;
  readonly startLsn: number;
  readonly bytes: Buffer;
}

const CHUNK_BYTES = 100_000;
const POLL_MS = 5;

/** Serves given WAL over the safekeeper's contract, up to a committed position that the test moves. */
export class WalServer {
  readonly address: string;
  readonly wal: ServedWal;
  commitLsn: number;
  /** Breaks a stream after so many chunks; 0: never. */
  breakAfter = 0;
  /** What every read fails with, where set. */
  trouble: CoppiceError | undefined;
  /** Sends nothing more while set. */
  stalls = false;
  chunksSent = 0;
  readonly reports: { ingestedLsn: number; durableLsn: number; generation: number }[] = [];
  readonly part: Part;

  constructor(address: string, wal: ServedWal, commitLsn: number) {
    this.address = address;
    this.wal = wal;
    this.commitLsn = commitLsn;
    const notServed = async (): Promise<never> => {
      throw new CoppiceError('Unavailable', 'not-served', 'only WAL is served here');
    };
    const service = serve(safekeeperContract, {
      readWal: ({ timelineId, fromLsn }, context) => this.#read(timelineId, toLsnNumber(fromLsn), context),
      watchTimelines: (_, context) => this.#watch(context),
      reportPageserver: async ({ ingestedLsn, durableLsn, generation }) => {
        this.reports.push({ ingestedLsn: toLsnNumber(ingestedLsn), durableLsn: toLsnNumber(durableLsn), generation });
        return {};
      },
      propose: notServed,
      getTimelineStatus: notServed,
      resolveLsn: notServed,
      deleteTimeline: notServed,
      listTimelines: notServed,
    });
    this.part = grpcServer({ address, services: [service], log: silentLog(), security: testIdentities.security('safekeeper') });
  }

  async *#read(timeline: TimelineId, from: number, { signal }: CallContext): AsyncGenerator<{ beginLsn: ReturnType<typeof toLsn>; wal: Buffer; commitLsn: ReturnType<typeof toLsn> }> {
    if (timeline !== this.wal.timeline) throw new CoppiceError('NotFound', 'timeline-not-found', `timeline ${timeline} never had WAL here`);
    if (this.trouble) throw this.trouble;
    for (let at = from, sent = 0; !signal.aborted; ) {
      const end = Math.min(at + CHUNK_BYTES, this.commitLsn);
      if (end > at && !this.stalls) {
        const wal = this.wal.bytes.subarray(at - this.wal.startLsn, end - this.wal.startLsn);
        yield { beginLsn: toLsn(at), wal, commitLsn: toLsn(this.commitLsn) };
        at = end;
        sent += 1;
        this.chunksSent += 1;
        if (this.breakAfter > 0 && sent >= this.breakAfter) throw new CoppiceError('Unavailable', 'broken', 'the stream breaks');
      } else await sleep(POLL_MS);
    }
  }

  async *#watch({ signal }: CallContext): AsyncGenerator<{ advances: { timelineId: TimelineId; commitLsn: ReturnType<typeof toLsn>; changedUnixMs: number }[] }> {
    for (let told = 0; !signal.aborted; await sleep(POLL_MS)) {
      if (this.commitLsn <= told) continue;
      told = this.commitLsn;
      yield { advances: [{ timelineId: this.wal.timeline, commitLsn: toLsn(told), changedUnixMs: told }] };
    }
  }
}
