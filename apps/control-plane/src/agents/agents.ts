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
  ListAgentsRequest,
  UpdateAgentRequest,
} from '@coppice/contracts';
import { computePeriod, NO_COUNTS } from '@coppice/quotas';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import type { Kysely } from 'kysely';
import type { Caller } from '../access/authorize';
import { checkOperator } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import { decodeCursor, encodeCursor } from '../naming/cursor';
import type { Identifiers } from '../naming/identifiers';
import { checkName, checkSearch } from '../naming/limits';
import { pageSize } from '../naming/page-size';
import { apiKeyModel } from './api-keys';
import { changedLimits, limitsFrom } from './limits';
import type { NewKeys } from './new-keys';
import { agentNotFound } from './not-found';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 400;
const AGENT_ID = /^[a-z0-9-]{1,60}$/;
const NO_USE: AgentUse = { ...NO_COUNTS, storageBytes: 0, computeSeconds: 0 };

export interface AgentServices {
  readonly db: Kysely<CatalogTables>;
  readonly identifiers: Identifiers;
  readonly keys: NewKeys;
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
    const visible = AGENT_ID.test(id) && (caller.scope === 'fleet' || caller.agentId === id);
    const row = visible ? await findAgent(this.#s.db, id) : undefined;
    if (!row) throw agentNotFound(id);
    return row;
  }

  async update(caller: Caller, request: UpdateAgentRequest): Promise<AgentModel> {
    checkOperator(caller, 'change agents');
    const { db, clock } = this.#s;
    const row = await this.find(caller, request.agentId);
    const limits =
      request.set.length === 0 ? undefined : changedLimits(limitsOf(row), request.quotas, request.set);
    const now = new Date(clock.now());
    const changed = await db.transaction().execute(async (tx) => {
      const after = await updateAgent(tx, row.id, {
        name: request.name === undefined ? undefined : checkName('agent', request.name),
        limits,
        now,
      });
      await recordAudit(tx, {
        ...caller.audit,
        action: 'update-agent',
        detail: { agent: row.id, ...(limits ? { limits } : {}) },
        now,
      });
      return after;
    });
    if (!changed) throw agentNotFound(row.id);
    return this.#model(changed);
  }

  async delete(caller: Caller, request: { agentId: string }): Promise<AgentModel> {
    checkOperator(caller, 'delete agents');
    const { db, clock } = this.#s;
    const row = await this.find(caller, request.agentId);
    if (row.id === caller.agentId)
      throw new CoppiceError('Conflict', 'own-agent', 'the agent of this key cannot be deleted with it', {
        remedy: 'Use a key of another operator.',
      });
    const model = await this.#model(row);
    const now = new Date(clock.now());
    const verdict = await deleteAgent(db, row.id, now);
    if (verdict === 'missing') throw agentNotFound(row.id);
    if (verdict === 'has-projects')
      throw new CoppiceError('Conflict', 'agent-has-projects', `agent ${row.id} has projects`, {
        remedy: 'Delete its projects first, or ask for them to be deleted with it.',
      });
    await recordAudit(db, { ...caller.audit, action: 'delete-agent', detail: { agent: row.id }, now });
    return model;
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
