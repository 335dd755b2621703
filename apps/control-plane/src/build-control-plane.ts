/** The control-plane put together: used by `main.ts` and by tests that run it in their process. */
import { type Catalog, ensureApiKey } from '@coppice/catalog';
import { grpcServer } from '@coppice/contracts';
import { type Clock, CoppiceError, type Log, part, type Part, type Random } from '@coppice/service-kit';
import { Authorize, hashApiKey } from './access/authorize';
import { forgetOldIdempotencyKeys } from './access/forget-idempotency-keys';
import { Branches } from './branches/branches';
import { AgentReports } from './computes/agent-reports';
import { Endpoints } from './computes/endpoints';
import { SuspendCompute } from './computes/suspend-compute';
import { WakeCompute } from './computes/wake-compute';
import type { ProxyAddress } from './credentials/connection-uri';
import { Logins } from './credentials/logins';
import { Passwords } from './credentials/passwords';
import { FindForkPoint } from './forks/find-fork-point';
import { Heads } from './forks/heads';
import { Identifiers } from './naming/identifiers';
import type { Peers } from './peers';
import { BuildTemplate } from './projects/build-template';
import { Projects } from './projects/projects';
import { serveControl } from './server/control';
import { serveControlInternal } from './server/control-internal';

export interface ControlPlaneOptions {
  readonly listen: string;
  readonly catalog: Catalog;
  readonly peers: Peers;
  readonly masterSecret: string;
  readonly operatorKey: string;
  readonly proxy: ProxyAddress;
  readonly limits: { readonly agentDeadAfterMs: number; readonly wakeTimeoutMs: number };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const API_KEY = /^cpk_[\x21-\x7e]{16,200}$/;
/** The agent that the operator's key belongs to. */
export const OPERATOR = 'operator';

/** The parts in the order in which they start. */
export function buildControlPlane(o: ControlPlaneOptions): Part[] {
  const { catalog, peers, proxy, clock, log, limits } = o;
  const { db } = catalog;
  if (!API_KEY.test(o.operatorKey))
    throw new CoppiceError(
      'Malformed',
      'bad-configuration',
      'the operator key is not cpk_ and 16 to 200 printable characters',
    );
  const identifiers = new Identifiers(o.random);
  const passwords = new Passwords(o.masterSecret);
  const suspend = new SuspendCompute({ db, peers, clock, log });
  const wake = new WakeCompute({ db, peers, suspend, identifiers, clock, log, limits });
  const heads = new Heads({ db, peers, wake, clock, log });
  const forkPoint = new FindForkPoint({ db, peers, heads, clock });
  const projects = new Projects({ db, suspend, identifiers, passwords, proxy, clock });
  const branches = new Branches({ db, forkPoint, suspend, identifiers, passwords, proxy, clock });
  const endpoints = new Endpoints({ db, projects, wake, suspend, identifiers, proxy, clock });
  const logins = new Logins({ db, projects, passwords, proxy, clock });
  const reports = new AgentReports({
    db,
    peers,
    suspend,
    clock,
    log,
    agentDeadAfterMs: limits.agentDeadAfterMs,
  });
  const template = new BuildTemplate({
    db,
    peers,
    identifiers,
    clock,
    log,
    agentDeadAfterMs: limits.agentDeadAfterMs,
  });
  const server = grpcServer({
    address: o.listen,
    log,
    services: [
      serveControl({
        db,
        authorize: new Authorize(db, clock),
        projects,
        branches,
        endpoints,
        logins,
        template,
      }),
      serveControlInternal({ db, wake, suspend, logins, reports, clock, log }),
    ],
  });
  const metadata = part(
    'metadata',
    async () => {
      const applied = await catalog.migrate();
      if (applied.length > 0) log.info({ applied }, 'metadata schema is brought up to date');
      await ensureApiKey(db, {
        agentId: OPERATOR,
        name: OPERATOR,
        keyHash: hashApiKey(o.operatorKey),
        scope: 'fleet',
        now: new Date(clock.now()),
      });
    },
    () => catalog.close(),
  );
  const forget = forgetOldIdempotencyKeys({ db, clock, log });
  return [metadata, peers.asPart(), server, reports.asPart(), forget, template.asPart()];
}
