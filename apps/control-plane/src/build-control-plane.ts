/** The control-plane put together: used by `main.ts` and by tests that run it in their process. */
import { type Catalog, ensureApiKey, listAgents } from '@coppice/catalog';
import { grpcServer, type ServerSecurity } from '@coppice/contracts';
import {
  type Clock,
  CoppiceError,
  type IdentityIssuer,
  type Log,
  part,
  type Part,
  type Random,
} from '@coppice/service-kit';
import type { QuotaStore } from '@coppice/leases';
import { Authorize, hashApiKey } from './access/authorize';
import { forgetOldIdempotencyKeys } from './access/forget-idempotency-keys';
import { Accounts } from './accounts/accounts';
import { KeepAccounts } from './accounts/keep-accounts';
import { KeyUses } from './access/key-uses';
import { Inventories } from './checking/inventories';
import { Agents } from './agents/agents';
import { ApiKeys } from './agents/api-keys';
import { NewKeys } from './agents/new-keys';
import { Branches } from './branches/branches';
import { DeleteBranch } from './branches/delete-branch';
import { InsertTogether } from './branches/insert-together';
import { RecoverBranch } from './branches/recover-branch';
import { UpdateBranch } from './branches/update-branch';
import { AgentReports } from './computes/agent-reports';
import { BranchSql } from './computes/branch-sql';
import { ChangeEndpoints } from './computes/change-endpoints';
import { ResizeCompute } from './computes/resize-compute';
import { Endpoints } from './computes/endpoints';
import { LookAgain } from './computes/look-again';
import { MakeRoom } from './computes/make-room';
import { PassingComputes } from './computes/passing-computes';
import { PositionComputes } from './computes/position-computes';
import { StartQueue } from './computes/start-queue';
import { SuspendCompute } from './computes/suspend-compute';
import { WakeCompute } from './computes/wake-compute';
import type { ProxyAddress } from './credentials/connection-uri';
import { Logins } from './credentials/logins';
import { Passwords } from './credentials/passwords';
import { ScopedCredentials } from './credentials/scoped-credentials';
import { FindForkPoint } from './forks/find-fork-point';
import { ForkSources } from './forks/fork-sources';
import { Heads } from './forks/heads';
import { Identifiers } from './naming/identifiers';
import type { Peers } from './peers';
import { BuildTemplate } from './projects/build-template';
import { ChangeProjects } from './projects/change-projects';
import { Projects } from './projects/projects';
import { Quotas } from './quotas/quotas';
import { Spending } from './quotas/spending';
import { StorageCaps } from './quotas/storage-caps';
import { buildRewind } from './rewind/rewind';
import { Adopt } from './roles/adopt';
import { Databases } from './roles/databases';
import { Roles } from './roles/roles';
import { BranchSchemas } from './schema/branch-schemas';
import { serveControl } from './server/control';
import { serveControlInternal } from './server/control-internal';
import { serveFleet } from './server/fleet';

export interface ControlPlaneOptions {
  readonly listen: string;
  /** Where clients with API keys call; empty: nowhere but through the gateway. */
  readonly publicListen: string;
  readonly catalog: Catalog;
  readonly peers: Peers;
  readonly security: ServerSecurity;
  /** Issues the tokens that computes reach their timelines with. */
  readonly issuer: IdentityIssuer;
  /** Counters of what agents have: in Redis, or in this process when it is the only control-plane. */
  readonly quotaStore: QuotaStore;
  readonly masterSecret: string;
  readonly operatorKey: string;
  readonly proxy: ProxyAddress;
  readonly limits: {
    readonly agentDeadAfterMs: number;
    readonly wakeTimeoutMs: number;
    /** Starts that wait for their turn at most, and how long. */
    readonly startQueueLength: number;
    readonly startWaitMs: number;
    /** A compute that nobody used for so long may make room for another. */
    readonly unusedForMs: number;
    /** How long what is deleted can be recovered. */
    readonly recoveryWindowMs: number;
  };
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
  const quotas = new Quotas({ db, store: o.quotaStore, log });
  const spending = new Spending({ db, suspend, clock, log });
  const storageCaps = new StorageCaps({ db, peers, clock, log });
  const lookAgain = new LookAgain({ db, peers, clock, log });
  const { agentDeadAfterMs, wakeTimeoutMs, unusedForMs } = limits;
  const makeRoom = new MakeRoom({ db, suspend, lookAgain, clock, log, unusedForMs });
  const queue = new StartQueue({
    agents: () => listAgents(db, new Date(clock.now() - agentDeadAfterMs)),
    makeRoom,
    clock,
    log,
    limits: { length: limits.startQueueLength, waitMs: limits.startWaitMs },
  });
  const wake = new WakeCompute({
    db,
    peers,
    issuer: o.issuer,
    suspend,
    queue,
    quotas,
    spending,
    storageCaps,
    identifiers,
    clock,
    log,
    limits,
  });
  const heads = new Heads({ db, peers, wake, clock, log });
  const forkPoint = new FindForkPoint({ db, peers, heads, clock });
  const projects = new Projects({ db, quotas, identifiers, passwords, proxy, clock });
  const branches = new Branches({
    db,
    quotas,
    forkSources: new ForkSources(db),
    forkPoint,
    heads,
    insertTogether: new InsertTogether(db),
    identifiers,
    passwords,
    proxy,
    clock,
  });
  const { recoveryWindowMs } = limits;
  const deletion = { db, quotas, projects, suspend, identifiers, clock, recoveryWindowMs };
  const changeProjects = new ChangeProjects(deletion);
  const deleteBranch = new DeleteBranch(deletion);
  const reap = { ...deletion, peers, log };
  const recoverBranch = new RecoverBranch({ db, quotas, proxy, clock });
  const updateBranch = new UpdateBranch({ db, projects, clock });
  const rewind = buildRewind({
    db,
    quotas,
    projects,
    forkPoint,
    heads,
    suspend,
    identifiers,
    passwords,
    proxy,
    clock,
  });
  const endpoints = new Endpoints({ db, projects, wake, suspend, identifiers, proxy, clock });
  const accounts = new Accounts({ db, clock });
  const keepAccounts = new KeepAccounts({ db, peers, clock, log });
  const keyUses = new KeyUses(db, clock, log);
  const authorize = new Authorize({ db, quotas: o.quotaStore, keyUses, clock });
  const keys = new NewKeys(o.masterSecret, o.random);
  const agents = new Agents({ db, identifiers, keys, changeProjects, clock });
  const apiKeys = new ApiKeys({ db, keys, clock });
  const credentials = new ScopedCredentials({ db, projects, passwords, identifiers, proxy, clock });
  const resize = new ResizeCompute({ db, peers, log });
  const endpointChanges = { db, projects, endpoints, suspend, resize, identifiers, proxy, clock, log };
  const changeEndpoints = new ChangeEndpoints(endpointChanges);
  const branchSql = new BranchSql({ db, projects, wake, peers, log });
  const passing = new PassingComputes({
    db,
    peers,
    issuer: o.issuer,
    suspend,
    queue,
    quotas,
    spending,
    identifiers,
    clock,
    log,
  });
  const positions = new PositionComputes({ db, forkPoint, passing, wake, suspend, clock, wakeTimeoutMs });
  const schemas = new BranchSchemas({ db, peers, branchSql, passing, forkPoint });
  const adopt = new Adopt({ db, branchSql, clock, log });
  const roles = new Roles({ db, branchSql, adopt, passwords, identifiers, clock });
  const databases = new Databases({ db, branchSql, adopt, identifiers, clock });
  const logins = new Logins({ db, projects, passwords, proxy, clock });
  const reports = new AgentReports({
    db,
    peers,
    suspend,
    wake,
    resize,
    clock,
    log,
    agentDeadAfterMs: limits.agentDeadAfterMs,
  });
  const inventories = new Inventories({
    db,
    quotaStore: o.quotaStore,
    clock,
    agentDeadAfterMs: limits.agentDeadAfterMs,
  });
  const template = new BuildTemplate({
    db,
    peers,
    issuer: o.issuer,
    identifiers,
    clock,
    log,
    agentDeadAfterMs: limits.agentDeadAfterMs,
  });
  const publicContracts = [
    serveControl({
      db,
      authorize,
      projects,
      changeProjects,
      branches,
      deleteBranch,
      recoverBranch,
      updateBranch,
      rewind,
      endpoints,
      changeEndpoints,
      schemas,
      roles,
      databases,
      logins,
      template,
    }),
    serveFleet({ authorize, accounts, agents, apiKeys, credentials, reap }),
  ];
  const server = grpcServer({
    address: o.listen,
    log,
    security: o.security,
    services: [
      ...publicContracts,
      serveControlInternal({
        db,
        wake,
        positions,
        suspend,
        lookAgain,
        logins,
        reap,
        reports,
        inventories,
        clock,
        log,
      }),
    ],
  });
  const publicServer =
    o.publicListen === ''
      ? []
      : [
          grpcServer({
            address: o.publicListen,
            log,
            security: o.security,
            services: publicContracts,
            anyone: true,
          }),
        ];
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
  return [
    metadata,
    peers.asPart(),
    keyUses.asPart(),
    keepAccounts.asPart(),
    quotas.asPart(),
    spending.asPart(),
    storageCaps.asPart(),
    queue.asPart(),
    server,
    ...publicServer,
    reports.asPart(),
    forget,
    template.asPart(),
  ];
}
