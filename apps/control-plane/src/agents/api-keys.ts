/** API keys: `cpk_` and random; only their SHA-256 is kept. A key opens no more than the key that made it. */
import {
  type ApiKeyRow,
  type ApiKeyScope,
  type CatalogTables,
  findAgent,
  findBranch,
  findProject,
  insertApiKey,
  insertIdempotent,
  listApiKeys,
  MAX_API_KEYS,
  recordAudit,
  revokeApiKey,
} from '@coppice/catalog';
import type {
  ApiKeyCreated,
  ApiKeyList,
  ApiKeyModel,
  CallContext,
  CreateApiKeyRequest,
} from '@coppice/contracts';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import { type BranchId, parseBranchId, parseProjectId, type ProjectId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { branchNotFound, type Caller, checkScope, projectNotFound } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import { checkName } from '../naming/limits';
import type { NewKeys } from './new-keys';
import { agentNotFound, checkAgentId } from './not-found';

const MAX_TTL_SECONDS = 315_360_000; // ten years

export interface ApiKeyServices {
  readonly db: Kysely<CatalogTables>;
  readonly keys: NewKeys;
  readonly clock: Clock;
}

interface Reach {
  readonly agentId: string;
  readonly scope: ApiKeyScope;
  readonly projectId: ProjectId | undefined;
  readonly branchId: BranchId | undefined;
}

export class ApiKeys {
  readonly #s: ApiKeyServices;

  constructor(services: ApiKeyServices) {
    this.#s = services;
  }

  async create(caller: Caller, request: CreateApiKeyRequest, context: CallContext): Promise<ApiKeyCreated> {
    const { db, keys, clock } = this.#s;
    if (request.ttlSeconds > MAX_TTL_SECONDS)
      throw new CoppiceError('Invalid', 'bad-ttl', `ttl_seconds is ${request.ttlSeconds}`, {
        remedy: `Use up to ${MAX_TTL_SECONDS}, or 0 for no end.`,
      });
    const name = checkName('key', request.name || 'key');
    const reach = await this.#reach(caller, request);
    return idempotently<ApiKeyCreated>(db, caller, context, {
      method: 'create-api-key',
      request,
      run: async (entry) => {
        const fresh = keys.make();
        const now = new Date(clock.now());
        return db.transaction().execute(async (tx) => {
          const row = await insertApiKey(tx, {
            ...reach,
            name,
            keyHash: fresh.hash,
            createdBy: caller.keyId,
            expiresAt: endOf(request.ttlSeconds, caller.expiresAt, now.getTime()),
            now,
          });
          if (!row)
            throw new CoppiceError('Conflict', 'too-many-api-keys', `there are ${MAX_API_KEYS} API keys`, {
              remedy: 'Revoke keys that are not needed any more.',
            });
          const key = apiKeyModel(row);
          await recordAudit(tx, {
            ...caller.audit,
            action: 'create-api-key',
            ...(reach.projectId === undefined ? {} : { projectId: reach.projectId }),
            ...(reach.branchId === undefined ? {} : { branchId: reach.branchId }),
            detail: { key: row.id, agent: reach.agentId, scope: reach.scope },
            now,
          });
          if (entry) await insertIdempotent(tx, caller.agentId, entry({ key, secret: fresh.seed }), now);
          return { key, secret: fresh.secret };
        });
      },
      reveal: async (kept) => ({ ...kept, secret: keys.secretOf(kept.secret) }),
    });
  }

  async list(caller: Caller, request: { agentId: string }): Promise<ApiKeyList> {
    this.#checkUnboundToBranch(caller);
    const { db, clock } = this.#s;
    const agentId = await this.#agentOf(caller, request.agentId);
    const rows = await listApiKeys(db, agentId, new Date(clock.now()));
    const visible = rows.filter((r) => caller.projectId === undefined || r.project_id === caller.projectId);
    return { keys: visible.map(apiKeyModel) };
  }

  async revoke(caller: Caller, request: { id: number }): Promise<ApiKeyModel> {
    this.#checkUnboundToBranch(caller);
    const { db, clock } = this.#s;
    const now = new Date(clock.now());
    return db.transaction().execute(async (tx) => {
      const row = await revokeApiKey(
        tx,
        request.id,
        caller.scope === 'fleet' ? undefined : caller.agentId,
        now,
      );
      if (!row || (caller.projectId !== undefined && row.project_id !== caller.projectId))
        throw new CoppiceError('NotFound', 'api-key-not-found', `API key ${request.id} does not exist`, {
          remedy: 'List the keys to see their ids.',
        });
      await recordAudit(tx, {
        ...caller.audit,
        action: 'revoke-api-key',
        detail: { key: row.id, agent: row.agent_id },
        now,
      });
      return apiKeyModel(row);
    });
  }

  async #reach(caller: Caller, request: CreateApiKeyRequest): Promise<Reach> {
    this.#checkUnboundToBranch(caller);
    const agentId = await this.#agentOf(caller, request.agentId);
    if (request.projectId === '' && request.branchId === '') {
      if (caller.projectId !== undefined)
        throw new CoppiceError('Forbidden', 'key-scope', 'this API key may only make keys of its project', {
          remedy: `Name the project ${caller.projectId}.`,
        });
      const scope = caller.scope === 'fleet' && agentId === caller.agentId ? 'fleet' : 'agent';
      return { agentId, scope, projectId: undefined, branchId: undefined };
    }
    const projectId = parseProjectId(request.projectId);
    if (!projectId) throw projectNotFound(request.projectId);
    checkScope(caller, projectId);
    const project = await findProject(this.#s.db, projectId, caller.agentFilter);
    if (!project || (request.agentId !== '' && project.agent_id !== agentId))
      throw projectNotFound(projectId);
    if (request.branchId === '')
      return { agentId: project.agent_id, scope: 'project', projectId, branchId: undefined };
    const branchId = parseBranchId(request.branchId);
    if (!branchId || !(await findBranch(this.#s.db, projectId, branchId)))
      throw branchNotFound(request.branchId);
    return { agentId: project.agent_id, scope: 'branch', projectId, branchId };
  }

  /** Operators may speak for any agent, others for their own only. */
  async #agentOf(caller: Caller, asked: string): Promise<string> {
    if (asked === '' || asked === caller.agentId) return caller.agentId;
    if (caller.scope !== 'fleet' || !(await findAgent(this.#s.db, checkAgentId(asked))))
      throw agentNotFound(asked);
    return asked;
  }

  #checkUnboundToBranch(caller: Caller): void {
    if (caller.branchId === undefined) return;
    throw new CoppiceError(
      'Forbidden',
      'key-scope',
      'this API key opens one branch and may not handle keys',
      {
        remedy: 'Use a key of the agent or the project.',
      },
    );
  }
}

/** A key that ends makes none that outlives it. */
function endOf(ttlSeconds: number, makersEnd: number | undefined, nowMs: number): Date | undefined {
  const own = ttlSeconds === 0 ? undefined : nowMs + ttlSeconds * 1000;
  const end = own === undefined ? makersEnd : Math.min(own, makersEnd ?? own);
  return end === undefined ? undefined : new Date(end);
}

export function apiKeyModel(row: ApiKeyRow): ApiKeyModel {
  return {
    id: row.id,
    agentId: row.agent_id,
    name: row.name,
    scope: row.scope,
    projectId: row.project_id ?? '',
    branchId: row.branch_id ?? '',
    createdUnixMs: row.created_at,
    lastUsedUnixMs: row.last_used_at ?? 0,
    lastUsedFrom: row.last_used_from,
    expiresUnixMs: row.expires_at ?? 0,
    revokedUnixMs: row.revoked_at ?? 0,
  };
}
