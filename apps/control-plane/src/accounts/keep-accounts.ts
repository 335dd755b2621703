/** Keeps the accounts: what computes run and write, and how large branches are. Any control-plane may do it at any time. */
import {
  type Db,
  findBranchesToMeasure,
  type MeasuredSize,
  meterComputes,
  recordSizes,
} from '@coppice/catalog';
import { BackgroundLoop, type Clock, type Log, part, type Part } from '@coppice/service-kit';
import type { Peers } from '../peers';

const METER_EVERY_MS = 2_000;
/** A run is accounted for this often: what a limit on compute seconds may be overrun by, milliseconds. */
const METERED_EVERY_MS = 10_000;
const METER_BATCH = 1_000;
const MEASURE_EVERY_MS = 2_000;
/** How old the size of a branch in use may be, milliseconds. */
const MEASURED_EVERY_MS = 10_000;
/** As many as the pageserver takes at a time. */
const MEASURE_BATCH = 500;

export interface KeepAccountsServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Log;
}

export class KeepAccounts {
  readonly #s: KeepAccountsServices;
  readonly #loops: readonly BackgroundLoop[];

  constructor(services: KeepAccountsServices) {
    this.#s = services;
    const { log } = services;
    this.#loops = [
      new BackgroundLoop({
        name: 'meter-computes',
        everyMs: METER_EVERY_MS,
        log,
        run: async () => void (await this.meter()),
      }),
      new BackgroundLoop({
        name: 'measure-branches',
        everyMs: MEASURE_EVERY_MS,
        log,
        run: async (signal) => void (await this.measure(signal)),
      }),
    ];
  }

  /** One round of accounting for runs; answers with how many were accounted for. */
  async meter(): Promise<number> {
    const now = this.#s.clock.now();
    return meterComputes(this.#s.db, {
      now: new Date(now),
      before: new Date(now - METERED_EVERY_MS),
      limit: METER_BATCH,
    });
  }

  /** One round of measuring branches that are or were just in use; answers with how many. */
  async measure(signal: AbortSignal): Promise<number> {
    const { db, peers, clock } = this.#s;
    const due = await findBranchesToMeasure(db, {
      before: new Date(clock.now() - MEASURED_EVERY_MS),
      limit: MEASURE_BATCH,
    });
    if (due.length === 0) return 0;
    const { sizes } = await peers.pageserver.getTimelineSizes(
      { timelineIds: due.map((d) => d.timelineId) },
      { signal },
    );
    const byTimeline = new Map(sizes.map((s) => [s.timelineId, s]));
    const measured = due.flatMap((d): MeasuredSize[] => {
      const s = byTimeline.get(d.timelineId);
      if (s?.state !== 'known') return [];
      return [
        {
          branchId: d.branchId,
          logicalBytes: s.logicalSizeBytes,
          ownBytes: s.ownBytes,
          growthBytes: s.growthBytes,
          isExact: !s.logicalSizeIsEstimate,
        },
      ];
    });
    await recordSizes(db, measured, new Date(clock.now()));
    return measured.length;
  }

  asPart(): Part {
    return part(
      'accounts',
      () => this.#loops.forEach((loop) => loop.start()),
      async () => {
        await Promise.all(this.#loops.map((loop) => loop.stop()));
      },
    );
  }
}
