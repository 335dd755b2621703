/** What our own services ask, served. */
import {
  type Db,
  attachPageserver,
  addTransferred,
  findEndedCredentials,
  findTimeline,
  listLiveComputes,
} from '@coppice/catalog';
import { controlInternalContract, serve, type ServedContract } from '@coppice/contracts';
import { type Clock, CoppiceError, type Log } from '@coppice/service-kit';
import { generation, INVALID_LSN, parseEndpointId, parseNodeId } from '@coppice/vocabulary';
import { endpointNotFound } from '../access/authorize';
import type { Inventories } from '../checking/inventories';
import type { AgentReports } from '../computes/agent-reports';
import type { LookAgain } from '../computes/look-again';
import type { PositionComputes } from '../computes/position-computes';
import type { SuspendCompute } from '../computes/suspend-compute';
import { sweepIdle } from '../computes/sweep-idle';
import type { WakeCompute } from '../computes/wake-compute';
import type { Logins } from '../credentials/logins';
import { forkRequest, isInPast } from '../forks/fork-request';
import { sweep } from '../reaping/sweep';
import type { ReapServices } from '../reaping/swept-item';

export interface ControlInternalServices {
  readonly db: Db;
  readonly wake: WakeCompute;
  readonly positions: PositionComputes;
  readonly suspend: SuspendCompute;
  readonly lookAgain: LookAgain;
  readonly logins: Logins;
  readonly reports: AgentReports;
  readonly reap: ReapServices;
  readonly inventories: Inventories;
  readonly clock: Clock;
  readonly log: Log;
}

/** Most computes that one listing names. */
const MAX_RUNNING = 10_000;
const MAX_TRANSFERS = 1_000;
const MAX_CREDENTIAL_IDS = 10_000;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function serveControlInternal(s: ControlInternalServices): ServedContract {
  return serve(controlInternalContract, {
    wake: async ({ endpointId, lsn, timestampUnixMicros: unixMicros = 0 }, { signal }) => {
      const id = parseEndpointId(withoutPooler(endpointId));
      if (!id) throw endpointNotFound(endpointId);
      const when = forkRequest({ lsn, unixMicros }, { lsn: 'neon_lsn', time: 'neon_timestamp' });
      const askedAt = s.clock.now();
      const row = await (isInPast(when) ? s.positions.wake(id, when, signal) : s.wake.wake(id, signal));
      return {
        computeId: row.id,
        socketDirectory: row.socket_directory ?? '',
        port: row.port ?? 0,
        started: row.running_at !== null && row.running_at >= askedAt,
      };
    },
    reportTransferred: async ({ transfers }) => {
      const known = transfers.flatMap(({ endpointId, bytes }) => {
        const id = parseEndpointId(withoutPooler(endpointId));
        return id && bytes > 0 ? [{ endpointId: id, bytes }] : [];
      });
      await addTransferred(s.db, known.slice(0, MAX_TRANSFERS), new Date(s.clock.now()));
      return {};
    },
    findEndedCredentials: async ({ ids }) => {
      const known = ids.filter((id) => UUID.test(id));
      const unknown = ids.filter((id) => !UUID.test(id));
      if (ids.length > MAX_CREDENTIAL_IDS)
        throw new CoppiceError(
          'Malformed',
          'too-many-credentials',
          `${ids.length} credentials are asked about`,
          {
            remedy: `Ask about ${MAX_CREDENTIAL_IDS} at a time.`,
          },
        );
      return { ids: [...unknown, ...(await findEndedCredentials(s.db, known, new Date(s.clock.now())))] };
    },
    getLogin: ({ endpointId, role }) => s.logins.login(withoutPooler(endpointId), role),
    getTimeline: async ({ timelineId }) => {
      const row = await findTimeline(s.db, timelineId);
      if (!row)
        throw new CoppiceError('NotFound', 'timeline-not-found', `timeline ${timelineId} does not exist`, {
          remedy: 'Ask for a timeline of an existing branch.',
        });
      return {
        timelineId: row.id,
        ancestorLsn: row.ancestor_lsn ?? INVALID_LSN,
        systemIdentifier: BigInt(row.system_identifier ?? 0),
        pgVersion: row.pg_version,
        ...(row.ancestor_id === null ? {} : { ancestorId: row.ancestor_id }),
      };
    },
    attachPageserver: async ({ nodeId, address }) => {
      const id = parseNodeId(nodeId);
      if (!id)
        throw new CoppiceError('Malformed', 'bad-node-id', `"${nodeId.slice(0, 60)}" is not a node id`);
      const given = generation(await attachPageserver(s.db, { id, address, now: new Date(s.clock.now()) }));
      s.log.info({ node: id, address, generation: given }, 'pageserver attaches');
      return { generation: given };
    },
    agentHeartbeat: async (report) => {
      await s.reports.heartbeat(report);
      return {};
    },
    suspendIdle: ({ limit, dryRun }) => sweepIdle(s, limit, dryRun),
    sweep: (request, { signal }) => sweep(s.reap, request, signal),
    listRunning: async () => ({
      computes: (await listLiveComputes(s.db, MAX_RUNNING)).map((c) => ({
        computeId: c.id,
        endpointId: c.endpoint_id,
        projectId: c.project_id,
        branchId: c.branch_id,
        state: c.state,
        startedUnixMs: c.running_at ?? c.created_at,
        lastActiveUnixMs: c.last_active_at ?? 0,
        computeUnits: c.compute_units,
      })),
    }),
    findContradictions: async ({ limit }) => ({ contradictions: await s.inventories.contradictions(limit) }),
    listAgentNodes: async () => ({ nodes: await s.inventories.agentNodes() }),
    listTimelines: async (page) => ({ timelines: await s.inventories.timelines(page) }),
    listLiveComputes: async (page) => ({ computes: await s.inventories.liveComputes(page) }),
    listQuotaCounters: async (page) => ({ agents: await s.inventories.quotaCounters(page) }),
  });
}

/** The name of an endpoint, of which `-pooler` asks for pooled connections. */
function withoutPooler(endpointId: string): string {
  return endpointId.replace(/-pooler$/, '');
}
