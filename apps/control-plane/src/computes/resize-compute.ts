/**
 * Tells computes that run which sizes they may have. A change of an endpoint is told at once; what does not get through, or comes
 * to a compute that is just starting, is told when its agent next reports other bounds than the endpoint has.
 */
import { type Db, findRunningCompute } from '@coppice/catalog';
import { asCoppiceError, type Log } from '@coppice/service-kit';
import type { ComputeId, EndpointId } from '@coppice/vocabulary';
import type { Peers } from '../peers';

const AGENT_DEADLINE_MS = 2_000;

export interface Bounds {
  readonly minUnits: number;
  readonly maxUnits: number;
}

export class ResizeCompute {
  readonly #s: { readonly db: Db; readonly peers: Peers; readonly log: Log };

  constructor(services: { readonly db: Db; readonly peers: Peers; readonly log: Log }) {
    this.#s = services;
  }

  /** The compute of an endpoint, when one runs. */
  async ofEndpoint(endpointId: EndpointId, bounds: Bounds): Promise<void> {
    const running = await findRunningCompute(this.#s.db, endpointId);
    if (running) await this.tell(running.nodeAddress, { ...bounds, id: running.id });
  }

  async tell(
    nodeAddress: string,
    { id, minUnits, maxUnits }: Bounds & { readonly id: ComputeId },
  ): Promise<void> {
    const { peers, log } = this.#s;
    try {
      await peers
        .agent(nodeAddress)
        .setComputeLimits(
          { computeId: id, computeUnits: maxUnits, minComputeUnits: minUnits },
          { deadlineMs: AGENT_DEADLINE_MS },
        );
    } catch (error) {
      const { code } = asCoppiceError(error);
      log.warn({ err: error, computeId: id, code }, 'compute does not know its sizes yet');
    }
  }
}
