/**
 * The template timeline of a Postgres major: made once, by an agent, before the first project. Its row is held locked while
 * an agent builds, so that of several control-planes one builds; a crash frees the row and the next one builds again, into the
 * same timeline.
 */
import {
  buildTemplateOnce,
  type CatalogTables,
  ensureTemplate,
  findTemplate,
  listAgents,
  recordOperations,
} from '@coppice/catalog';
import {
  asCoppiceError,
  type Clock,
  CoppiceError,
  type IdentityIssuer,
  type Log,
  part,
  type Part,
} from '@coppice/service-kit';
import type { Kysely } from 'kysely';
import { chooseAgent } from '../computes/placement';
import { finishedOperation } from '../operations/finished-operation';
import type { Identifiers } from '../naming/identifiers';
import { PG_VERSION } from '../naming/limits';
import type { Peers } from '../peers';

const PAUSE_MS = 200;
const LOG_EVERY_MS = 30_000;

export interface TemplateServices {
  readonly db: Kysely<CatalogTables>;
  readonly peers: Peers;
  readonly issuer: IdentityIssuer;
  readonly identifiers: Identifiers;
  readonly clock: Clock;
  readonly log: Log;
  readonly agentDeadAfterMs: number;
}

export class BuildTemplate {
  readonly #s: TemplateServices;
  readonly #stop = new AbortController();
  #done: Promise<void> = Promise.resolve();
  #waitingFor = 'the template is looked up';

  constructor(services: TemplateServices) {
    this.#s = services;
  }

  /** Empty when projects can be made. */
  get waitingFor(): string {
    return this.#waitingFor;
  }

  /** Ready means that projects can be made; agents report to the server that this process serves before. */
  asPart(): Part {
    return part(
      'build-template',
      () => (this.#done = this.untilReady(this.#stop.signal)),
      async () => {
        this.#stop.abort();
        await this.#done.catch(() => undefined);
      },
    );
  }

  /** Returns once the template is there. What fails is tried again. */
  async untilReady(signal: AbortSignal): Promise<void> {
    const { db, clock, identifiers, log } = this.#s;
    let loggedAt = -LOG_EVERY_MS;
    while (!signal.aborted) {
      try {
        const reserved = await ensureTemplate(db, PG_VERSION, identifiers.timeline(), new Date(clock.now()));
        if (
          reserved.lsn !== undefined ||
          (await this.#build()) === 'built' ||
          (await findTemplate(db, PG_VERSION))?.lsn !== undefined
        ) {
          this.#waitingFor = '';
          return;
        }
        this.#waitingFor = 'another control-plane builds the template';
      } catch (error) {
        const known = asCoppiceError(error);
        this.#waitingFor = known.message;
        if (clock.monotonic() - loggedAt >= LOG_EVERY_MS && known.code !== 'no-compute-agent') {
          log.warn({ err: error }, 'template is not built yet');
          loggedAt = clock.monotonic();
        }
      }
      await clock.sleep(PAUSE_MS, signal);
    }
  }

  async #build(): Promise<'built' | 'ready' | 'held-by-another'> {
    const { db, peers, issuer, identifiers, clock, log, agentDeadAfterMs } = this.#s;
    const node = chooseAgent(await listAgents(db, new Date(clock.now() - agentDeadAfterMs)), new Set());
    if (!node) throw new CoppiceError('Unavailable', 'no-compute-agent', 'no compute agent reports for duty');
    const began = clock.now();
    const outcome = await db.transaction().execute((tx) =>
      buildTemplateOnce(
        tx,
        PG_VERSION,
        (timelineId) => {
          this.#waitingFor = `the template of PostgreSQL ${PG_VERSION} is being built`;
          log.info({ node: node.id, timelineId }, 'template is being built');
          const timelineToken = issuer.issue('compute', {
            node: node.id,
            timeline: timelineId,
            compute: 'template',
          });
          return peers
            .agent(node.address)
            .buildTemplate({ timelineId, timelineToken }, { signal: this.#stop.signal });
        },
        () => new Date(clock.now()),
      ),
    );
    if (outcome !== 'built') return outcome;
    const now = clock.now();
    log.info({ ms: now - began }, 'template is ready');
    await recordOperations(db, [
      finishedOperation({
        id: identifiers.operation(),
        action: 'import_data',
        beganAt: began,
        endedAt: now,
      }),
    ]);
    return outcome;
  }
}
