/** SQL of our own on a branch: as superuser, through the agent of the compute that runs it. */
import {
  type ComputeRow,
  type Db,
  type EndpointRow,
  findBranch,
  findLiveComputes,
  findNode,
  listEndpoints,
  type ProjectRow,
} from '@coppice/catalog';
import type { RunSqlRequest, SqlResult } from '@coppice/contracts';
import { asCoppiceError, CoppiceError, type Log } from '@coppice/service-kit';
import { type BranchId, type EndpointId, parseBranchId, type ProjectId } from '@coppice/vocabulary';
import { branchNotFound, type Caller, checkScope } from '../access/authorize';
import type { Peers } from '../peers';
import type { Projects } from '../projects/projects';
import type { WakeCompute } from './wake-compute';

/** The database in which roles and databases are made: users cannot make it behave in their way. */
export const MAINTENANCE_DATABASE = 'postgres';
const DEADLINE_MS = 30_000;
const QUICK_MS = 3_000;
const MAX_RESULT_BYTES = 8 * 1024 * 1024;
/** The compute was there and is not: it may be started anew. */
const GONE = new Set(['compute-not-found', 'compute-gone', 'compute-not-running', 'peer-unavailable']);

export interface BranchStatements extends Partial<Omit<RunSqlRequest, 'computeId'>> {
  readonly statements: readonly string[];
}

/** A branch that the caller may see. */
export interface BranchOf {
  readonly project: ProjectRow;
  readonly branchId: BranchId;
}

export interface BranchSqlServices {
  readonly db: Db;
  readonly projects: Projects;
  readonly wake: WakeCompute;
  readonly peers: Peers;
  readonly log: Log;
}

export class BranchSql {
  readonly #s: BranchSqlServices;

  constructor(services: BranchSqlServices) {
    this.#s = services;
  }

  async find(
    caller: Caller,
    ref: { readonly projectId: string; readonly branchId: string },
  ): Promise<BranchOf> {
    const project = await this.#s.projects.find(caller, ref.projectId);
    checkScope(caller, project.id, ref.branchId);
    const branchId = parseBranchId(ref.branchId);
    if (!branchId || !(await findBranch(this.#s.db, project.id, branchId)))
      throw branchNotFound(ref.branchId);
    return { project, branchId };
  }

  /** The endpoint on whose compute statements run. */
  async endpoint({ project, branchId }: BranchOf): Promise<EndpointId> {
    const found = await findReadWrite(this.#s.db, project.id, branchId);
    if (found) return found.id;
    throw new CoppiceError(
      'Conflict',
      'branch-has-no-endpoint',
      `branch ${branchId} has no read_write endpoint on which Postgres could run`,
      { remedy: 'Create an endpoint on it first.' },
    );
  }

  /** Starts the branch if need be; statements may run twice when their first answer is lost. */
  async run(endpoint: EndpointId, sql: BranchStatements, signal: AbortSignal): Promise<SqlResult[]> {
    const row = await this.#s.wake.wake(endpoint, signal);
    try {
      return await this.#runOn(row, sql, DEADLINE_MS, signal);
    } catch (error) {
      if (!GONE.has(asCoppiceError(error).code)) throw error;
      this.#s.log.warn({ computeId: row.id, err: error }, 'compute is gone before its SQL ended');
    }
    return this.#runOn(await this.#s.wake.wake(endpoint, signal), sql, DEADLINE_MS, signal);
  }

  /** On a branch that runs now; `undefined` when it does not, or does not answer soon. */
  async runIfAwake(
    { project, branchId }: BranchOf,
    sql: BranchStatements,
    signal: AbortSignal,
  ): Promise<SqlResult[] | undefined> {
    const { db } = this.#s;
    const endpoint = await findReadWrite(db, project.id, branchId);
    const row = (await findLiveComputes(db, { branchId })).find(
      (c) => c.state === 'running' && c.endpoint_id === endpoint?.id,
    );
    if (!row) return undefined;
    try {
      return await this.#runOn(row, sql, QUICK_MS, signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#s.log.warn({ computeId: row.id, err: error }, 'compute does not answer; the metadata does');
      return undefined;
    }
  }

  async #runOn(
    row: ComputeRow,
    sql: BranchStatements,
    deadlineMs: number,
    signal: AbortSignal,
  ): Promise<SqlResult[]> {
    const node = await findNode(this.#s.db, row.node_id);
    if (!node) throw new CoppiceError('Unavailable', 'compute-gone', `node ${row.node_id} is not registered`);
    const { results } = await this.#s.peers.agent(node.address).runSql(
      {
        database: MAINTENANCE_DATABASE,
        readOnly: false,
        deadlineMs,
        maxResultBytes: MAX_RESULT_BYTES,
        separate: false,
        ...sql,
        computeId: row.id,
      },
      { signal, deadlineMs: deadlineMs + 1_000 },
    );
    return [...results];
  }
}

async function findReadWrite(
  db: Db,
  projectId: ProjectId,
  branchId: BranchId,
): Promise<EndpointRow | undefined> {
  return (await listEndpoints(db, projectId, branchId)).find((e) => e.type === 'read_write');
}
