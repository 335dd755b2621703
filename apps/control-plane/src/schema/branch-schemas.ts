/**
 * The schema of a database of a branch: at its head from the compute that runs the branch, at an earlier position, or of a branch
 * without endpoint, from a passing compute.
 */
import {
  type ComputeRow,
  type Db,
  findBranch,
  findForkSource,
  findNode,
  listDatabases,
  listEndpoints,
} from '@coppice/catalog';
import type {
  BranchSchema,
  BranchSchemaRequest,
  CompareSchemasRequest,
  SchemaComparison,
  SqlResult,
} from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { branchNotFound, type Caller } from '../access/authorize';
import type { BranchOf, BranchSql } from '../computes/branch-sql';
import type { PassingComputes } from '../computes/passing-computes';
import type { FindForkPoint } from '../forks/find-fork-point';
import { type ForkRequest, forkRequest, isInPast } from '../forks/fork-request';
import type { Peers } from '../peers';
import { databaseNotFound } from '../roles/databases';
import { SQLSTATE, sqlstateOf } from '../roles/sql-state';
import { compareSchemas } from './compare-schemas';
import type { SchemaModel } from './model';
import { readSchemaAtOnce, type RunAtOnce } from './read/at-once';
import { goneMeanwhile } from './read/read-schema';
import { schemaJson } from './schema-json';
import { type SchemaLimits, type SchemaRow, schemaTooLarge } from './schema-query';
import { schemaSql } from './schema-sql';

const MIB = 1024 * 1024;
/** SQL and JSON travel in one answer. */
const MAX_ANSWER_BYTES = 7 * MIB;
const MAX_RESULT_BYTES = 12 * MIB;
const READ_DEADLINE_MS = 20_000;
const LIMITS: SchemaLimits = {
  relations: 50_000,
  columns: 500_000,
  functions: 20_000,
  catalogBytes: 32 * MIB,
  sqlCharacters: MAX_ANSWER_BYTES,
};

export interface BranchSchemaServices {
  readonly db: Db;
  readonly peers: Peers;
  readonly branchSql: BranchSql;
  readonly passing: PassingComputes;
  readonly forkPoint: FindForkPoint;
}

interface Wanted {
  readonly database: string;
  readonly when: ForkRequest;
}

export class BranchSchemas {
  readonly #s: BranchSchemaServices;

  constructor(services: BranchSchemaServices) {
    this.#s = services;
  }

  async get(caller: Caller, request: BranchSchemaRequest): Promise<BranchSchema> {
    const at = await this.#s.branchSql.find(caller, request);
    const when = whenOf(request.lsn, request.timestampUnixMicros);
    const database = await this.#database(at, request.database);
    const model = await this.#read(at, { database, when }, caller.signal);
    const json = JSON.stringify(schemaJson(model));
    const sql = schemaSql(model, LIMITS);
    for (const [what, text] of [
      ['bytes of SQL', sql],
      ['bytes of JSON', json],
    ] as const) {
      const bytes = Buffer.byteLength(text);
      if (bytes > MAX_ANSWER_BYTES) throw schemaTooLarge(what, bytes, MAX_ANSWER_BYTES);
    }
    return { sql, json };
  }

  async compare(caller: Caller, request: CompareSchemasRequest): Promise<SchemaComparison> {
    const { branchSql } = this.#s;
    const at = await branchSql.find(caller, request);
    const base = await branchSql.find(caller, {
      projectId: request.projectId,
      branchId: request.baseBranchId || (await this.#parent(at)),
    });
    const when = whenOf(request.lsn, request.timestampUnixMicros);
    const baseWhen = whenOf(request.baseLsn, request.baseTimestampUnixMicros);
    const database = await this.#database(at, request.database);
    const [changed, before] = await Promise.all([
      this.#read(at, { database, when }, caller.signal),
      this.#read(base, { database, when: baseWhen }, caller.signal),
    ]);
    const names = { base: database, changed: database };
    const { diff } = compareSchemas(schemaSql(before, LIMITS), schemaSql(changed, LIMITS), names);
    const bytes = Buffer.byteLength(diff);
    if (bytes > MAX_ANSWER_BYTES) throw schemaTooLarge('bytes of differences', bytes, MAX_ANSWER_BYTES);
    return { diff };
  }

  async #parent({ project, branchId }: BranchOf): Promise<string> {
    const row = await findBranch(this.#s.db, project.id, branchId);
    if (row?.parent_id) return row.parent_id;
    throw new CoppiceError('Invalid', 'branch-has-no-parent', `branch ${branchId} has no parent`, {
      remedy: 'Name a base branch to compare with.',
    });
  }

  async #database({ branchId }: BranchOf, name: string): Promise<string> {
    if (name !== '') return name;
    const [first] = await listDatabases(this.#s.db, branchId);
    if (!first) throw databaseNotFound(name, branchId);
    return first.name;
  }

  async #read(at: BranchOf, wanted: Wanted, signal: AbortSignal): Promise<SchemaModel> {
    const { db, branchSql, passing, forkPoint } = this.#s;
    const { project, branchId } = at;
    const { database, when } = wanted;
    try {
      const endpoint = (await listEndpoints(db, project.id, branchId)).find(
        (e) => e.type === 'read_write' && !e.disabled,
      );
      if (endpoint && !isInPast(when))
        return await readSchemaAtOnce(
          async (statements) =>
            rowsOf(await branchSql.run(endpoint.id, asRead(database, statements), signal)),
          LIMITS,
        );
      const source = await findForkSource(db, project.id, branchId);
      if (!source?.branch) throw branchNotFound(branchId);
      const point = await forkPoint.find(source, source.branch, when, signal);
      return await passing.run({ project, branchId, point }, signal, (row) =>
        readSchemaAtOnce(this.#runOn(row, database, signal), LIMITS),
      );
    } catch (error) {
      if (sqlstateOf(error) !== SQLSTATE.undefinedDatabase) throw goneMeanwhile(error) ?? error;
      throw databaseNotFound(database, branchId, await listDatabases(db, branchId));
    }
  }

  #runOn(row: ComputeRow, database: string, signal: AbortSignal): RunAtOnce {
    return async (statements) => {
      const node = await findNode(this.#s.db, row.node_id);
      if (!node)
        throw new CoppiceError('Unavailable', 'compute-gone', `node ${row.node_id} is not registered`, {
          remedy: 'Try again shortly.',
        });
      const { results } = await this.#s.peers
        .agent(node.address)
        .runSql(
          { ...asRead(database, statements), separate: false, computeId: row.id },
          { signal, deadlineMs: READ_DEADLINE_MS + 1_000 },
        );
      return rowsOf(results);
    };
  }
}

function whenOf(lsn: ForkRequest['lsn'], unixMicros: number): ForkRequest {
  return forkRequest({ lsn, unixMicros }, { lsn: 'lsn', time: 'timestamp' });
}

function asRead(database: string, statements: readonly string[]) {
  return {
    database,
    statements: [...statements],
    readOnly: true,
    deadlineMs: READ_DEADLINE_MS,
    maxResultBytes: MAX_RESULT_BYTES,
  };
}

function rowsOf(results: readonly SqlResult[]): SchemaRow[][] {
  return results.map(({ columns, rows }) =>
    rows.map((values) => Object.fromEntries(columns.map((name, i) => [name, values[i] ?? null]))),
  );
}
