/** Asks an agent whether a compute is used now, before it is suspended for not being used: reports are seconds old. */
import { type ComputeRow, type Db, findNode, keepAwake } from '@coppice/catalog';
import { asCoppiceError, type Clock, type Log } from '@coppice/service-kit';
import type { Peers } from '../peers';
import { byOurClock } from './idle';

export interface LookAgainServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Log;
}

export class LookAgain {
  readonly #s: LookAgainServices;

  constructor(services: LookAgainServices) {
    this.#s = services;
  }

  /** Used after `since`, or being let finish something. */
  async use(row: ComputeRow, since: Date): Promise<'used' | 'unused' | 'unknown'> {
    const { db, peers, clock, log } = this.#s;
    const node = await findNode(db, row.node_id);
    if (!node) return 'unknown';
    try {
      const compute = await peers.agent(node.address).getCompute({ computeId: row.id, look: true });
      if (compute.state !== 'running') return 'unused';
      if (compute.held) return 'used';
      const lastActive = byOurClock(compute.lastActiveUnixMs, compute.clockUnixMs, clock.now());
      if (lastActive <= since.getTime()) return 'unused';
      await keepAwake(db, row.id, new Date(lastActive));
      return 'used';
    } catch (error) {
      log.warn(
        { err: error, computeId: row.id, code: asCoppiceError(error).code },
        'a compute that is due to be suspended is not looked at',
      );
      return 'unknown';
    }
  }
}
