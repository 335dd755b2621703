/** Agents: made, limited and ended by operators; each may look at itself. */
import {
  type AgentRow,
  type AgentUse,
  type CatalogTables,
  deleteAgent,
  findAgent,
  insertAgent,
  insertApiKey,
  insertIdempotent,
  limitsOf,
  listProjects,
  lockAgent,
  measureUse,
  pageAgents,
  recordAudit,
  updateAgent,
} from '@coppice/catalog';
import type {
  AgentCreated,
  AgentList,
  AgentModel,
  CallContext,
  CreateAgentRequest,
  DeleteAgentRequest,
  ListAgentsRequest,
  UpdateAgentRequest,
} from '@coppice/contracts';
import { computePeriod, NO_COUNTS } from '@coppice/quotas';
import { asCoppiceError, type Clock, CoppiceError } from '@coppice/service-kit';
import type { Kysely } from 'kysely';
import type { Caller } from '../access/authorize';
import { checkOperator } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import { decodeCursor, encodeCursor } from '../naming/cursor';
import type { Identifiers } from '../naming/identifiers';
import { checkName, checkSearch } from '../naming/limits';
import { pageSize } from '../naming/page-size';
import type { ChangeProjects } from '../projects/change-projects';
import { apiKeyModel } from './api-keys';
import { changedLimits, limitsFrom } from './limits';
import type { NewKeys } from './new-keys';
import { agentNotFound, checkAgentId } from './not-found';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 400;
/** It may make projects while they are being deleted. */
const DELETE_ATTEMPTS = 3;
const NO_USE: AgentUse = { ...NO_COUNTS, storageBytes: 0, computeSeconds: 0 };

export interface AgentServices {
  readonly db: Kysely<CatalogTables>;
  readonly identifiers: Identifiers;
  readonly keys: NewKeys;
  readonly changeProjects: Pick<ChangeProjects, 'end'>;
  readonly clock: Clock;
}

export class Agents {
  readonly #s: AgentServices;

  constructor(services: AgentServices) {
    this.#s = services;
  }

  /** An agent and its first key. */
  async create(caller: Caller, request: CreateAgentRequest, context: CallContext): Promise<AgentCreated> {
    checkOperator(caller, 'make agents');
    const { db, identifiers, keys, clock } = this.#s;
    const limits = limitsFrom(request.quotas ?? {});
    const id = identifiers.agent();
    const name = request.name === '' ? id : checkName('agent', request.name);
    return idempotently<AgentCreated>(db, caller, context, {
      method: 'create-agent',
      request,
      run: (entry) =>
        db.transaction().execute(async (tx) => {
          const now = new Date(clock.now());
          const agent = agentModel(await insertAgent(tx, { id, name, limits, now }), NO_USE);
          const fresh = keys.make();
          const row = await insertApiKey(tx, {
            agentId: id,
            name: 'first',
            keyHash: fresh.hash,
            scope: 'agent',
            projectId: undefined,
            branchId: undefined,
            createdBy: caller.keyId,
            expiresAt: undefined,
            now,
          });
          const key = apiKeyModel(row!);
          await recordAudit(tx, { ...caller.audit, action: 'create-agent', detail: { agent: id }, now });
          if (entry)
            await insertIdempotent(
              tx,
              caller.agentId,
              entry({ agent, apiKey: { key, secret: fresh.seed } }),
              now,
            );
          return { agent, apiKey: { key, secret: fresh.secret } };
        }),
      reveal: async (kept) => ({
        ...kept,
        apiKey: { ...kept.apiKey, secret: keys.secretOf(kept.apiKey.secret) },
      }),
    });
  }

  async list(caller: Caller, request: ListAgentsRequest): Promise<AgentList> {
    checkOperator(caller, 'list agents');
    const limit = pageSize(request.limit, DEFAULT_PAGE, MAX_PAGE);
    const rows = await pageAgents(this.#s.db, {
      search: checkSearch(request.search),
      after: decodeCursor(request.cursor, 'number'),
      limit: limit + 1,
    });
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page.at(-1) : undefined;
    const use = await this.#use(page.map((r) => r.id));
    return {
      agents: page.map((r) => agentModel(r, use.get(r.id) ?? NO_USE)),
      nextCursor: last ? encodeCursor({ key: last.created_at, id: last.id }) : '',
    };
  }

  async get(caller: Caller, request: { agentId: string }): Promise<AgentModel> {
    return this.#model(await this.find(caller, request.agentId));
  }

  /** An agent that the caller may see: operators all, others themselves. */
  async find(caller: Caller, id: string): Promise<AgentRow> {
    const visible = caller.scope === 'fleet' || caller.agentId === id;
    const row = visible ? await findAgent(this.#s.db, checkAgentId(id)) : undefined;
    if (!row) throw agentNotFound(id);
    return row;
  }

  async update(caller: Caller, request: UpdateAgentRequest): Promise<AgentModel> {
    checkOperator(caller, 'change agents');
    const { db, clock } = this.#s;
    const { id } = await this.find(caller, request.agentId);
    const name = request.name === undefined ? undefined : checkName('agent', request.name);
    const now = new Date(clock.now());
    const changed = await db.transaction().execute(async (tx) => {
      const row = await lockAgent(tx, id);
      const limits =
        !row || request.set.length === 0
          ? undefined
          : changedLimits(limitsOf(row), request.quotas, request.set);
      const after = row && (await updateAgent(tx, id, { name, limits, now }));
      if (!after) throw agentNotFound(id);
      const detail = { agent: id, ...(limits ? { limits } : {}) };
      await recordAudit(tx, { ...caller.audit, action: 'update-agent', detail, now });
      return after;
    });
    return this.#model(changed);
  }

  /** Its keys end with it. With `withProjects`, its projects are deleted before; when that stops halfway, it can be asked again. */
  async delete(caller: Caller, request: DeleteAgentRequest): Promise<AgentModel> {
    checkOperator(caller, 'delete agents');
    const row = await this.find(caller, request.agentId);
    if (row.id === caller.agentId)
      throw new CoppiceError('Conflict', 'own-agent', 'the agent of this key cannot be deleted with it', {
        remedy: 'Use a key of another operator.',
      });
    const model = await this.#model(row);
    for (let attempt = 1; !(await this.#end(caller, row.id)); attempt++) {
      if (!request.withProjects || attempt > DELETE_ATTEMPTS)
        throw new CoppiceError('Conflict', 'agent-has-projects', `agent ${row.id} has projects`, {
          remedy: request.withProjects
            ? 'It goes on making projects: revoke its keys, then try again.'
            : 'Delete its projects first, or ask for them to be deleted with it.',
        });
      await this.#deleteProjects(caller, row.id);
    }
    return model;
  }

  /** False when it has projects. */
  async #end(caller: Caller, id: string): Promise<boolean> {
    const { db, clock } = this.#s;
    const now = new Date(clock.now());
    return db.transaction().execute(async (tx) => {
      if (!(await lockAgent(tx, id))) throw agentNotFound(id);
      const ended = await deleteAgent(tx, id, now);
      if (ended)
        await recordAudit(tx, { ...caller.audit, action: 'delete-agent', detail: { agent: id }, now });
      return ended;
    });
  }

  async #deleteProjects(caller: Caller, agentId: string): Promise<void> {
    for (;;) {
      caller.signal.throwIfAborted();
      const [project] = await listProjects(this.#s.db, { agentId, limit: 1 });
      if (!project) return;
      await this.#s.changeProjects.end(caller.audit, project.id, false).catch((error: unknown) => {
        // Another may have been first.
        if (asCoppiceError(error).code !== 'project-not-found') throw error;
      });
    }
  }

  async #model(row: AgentRow): Promise<AgentModel> {
    return agentModel(row, (await this.#use([row.id])).get(row.id) ?? NO_USE);
  }

  #use(ids: readonly string[]): Promise<ReadonlyMap<string, AgentUse>> {
    const { db, clock } = this.#s;
    return measureUse(db, ids, new Date(computePeriod(clock.now()).startMs));
  }
}

function agentModel(row: AgentRow, use: AgentUse): AgentModel {
  return {
    id: row.id,
    name: row.name,
    quotas: limitsOf(row),
    usage: use,
    createdUnixMs: row.created_at,
    updatedUnixMs: row.updated_at,
  };
}
