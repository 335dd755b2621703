/** Who calls, by API key. Keys are `cpk_` and random; only their SHA-256 is kept. */
import { createHash } from 'node:crypto';
import { type Actor, type Db, findPrincipal, type Principal } from '@coppice/catalog';
import type { CallContext } from '@coppice/contracts';
import type { QuotaStore } from '@coppice/leases';
import { exceededText } from '@coppice/quotas';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import type { ProjectId } from '@coppice/vocabulary';
import type { KeyUses } from './key-uses';

/** A revoked key may work for so long still: the price of not asking the database for every request. */
const CACHE_MS = 2_000;
const MAX_CACHED = 10_000;
const BEARER = /^Bearer\s+(\S{1,512})$/i;
const MAX_TASK_ID = 255;
/** Names of tasks from the outermost to the one that acts, such as `job-7/step-2`. */
const TASK_ID = /^[\x21-\x7e]+(\/[\x21-\x7e]+)*$/;
const MAX_ADDRESS = 64;

export function hashApiKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** A principal in the act: what it does is in the audit log under its task. */
export interface Caller extends Principal {
  readonly taskId: string | undefined;
  /** As the audit log tells of it. */
  readonly audit: Actor;
  /** Restricts queries to the caller's own projects; absent for operators. */
  readonly agentFilter: string | undefined;
  readonly signal: AbortSignal;
}

export interface AuthorizeServices {
  readonly db: Db;
  readonly quotas: QuotaStore;
  readonly keyUses: KeyUses;
  readonly clock: Clock;
}

export class Authorize {
  readonly #s: AuthorizeServices;
  readonly #cache = new Map<string, { readonly principal: Principal; readonly until: number }>();

  constructor(services: AuthorizeServices) {
    this.#s = services;
  }

  /** Throws `Unauthenticated` without a usable key, `QuotaExceeded` when its agent calls too often. */
  async caller(context: CallContext): Promise<Caller> {
    const key = BEARER.exec(context.header('authorization') ?? '')?.[1];
    if (key === undefined)
      throw new CoppiceError('Unauthenticated', 'missing-api-key', 'the request carries no API key', {
        remedy: 'Send "Authorization: Bearer <api key>".',
      });
    const principal = await this.#principal(key);
    await this.#takeRequest(principal, context.signal);
    this.#s.keyUses.note(
      principal.keyId,
      (context.header('coppice-client-address') ?? '').slice(0, MAX_ADDRESS),
    );
    const taskId = taskIdOf(context);
    return {
      ...principal,
      taskId,
      audit: { agentId: principal.agentId, taskId, keyId: principal.keyId },
      agentFilter: principal.scope === 'fleet' ? undefined : principal.agentId,
      signal: context.signal,
    };
  }

  async #principal(key: string): Promise<Principal> {
    const hash = hashApiKey(key);
    const id = hash.toString('base64');
    const now = this.#s.clock.monotonic();
    const cached = this.#cache.get(id);
    const principal = cached && cached.until > now ? cached.principal : await findPrincipal(this.#s.db, hash);
    if (principal?.expiresAt !== undefined && principal.expiresAt <= this.#s.clock.now())
      throw new CoppiceError(
        'Unauthenticated',
        'api-key-expired',
        `the API key expired at ${new Date(principal.expiresAt).toISOString()}`,
        { remedy: 'Make a new key.' },
      );
    if (principal && principal === cached?.principal) return principal;
    if (!principal)
      throw new CoppiceError('Unauthenticated', 'bad-api-key', 'the API key is unknown or revoked', {
        remedy: 'Use a valid key.',
      });
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    this.#cache.set(id, { principal, until: now + CACHE_MS });
    return principal;
  }

  async #takeRequest({ agentId, limits }: Principal, signal: AbortSignal): Promise<void> {
    const rate = limits.requestsPerSecond;
    if (rate === undefined) return;
    const answer = await this.#s.quotas.takeRequest(agentId, rate, rate, signal);
    if (answer.allowed) return;
    const againAtMs = this.#s.clock.now() + answer.retryAfterMs;
    const { message, remedy } = exceededText('requestsPerSecond', { limit: rate, used: rate, againAtMs });
    throw new CoppiceError('QuotaExceeded', 'rate-limit-exceeded', message, { remedy });
  }
}

function taskIdOf(context: CallContext): string | undefined {
  const taskId = context.header('x-task-id');
  if (taskId === undefined || taskId === '') return undefined;
  return checkTaskId(taskId, 'bad-x-task-id');
}

/** The id of a task that there may be. Throws `Malformed` with `code` for what none can be called. */
export function checkTaskId(taskId: string, code = 'bad-task-id'): string {
  if (taskId.length <= MAX_TASK_ID && TASK_ID.test(taskId)) return taskId;
  throw new CoppiceError('Malformed', code, 'the id of the task is not a path of task names', {
    remedy: `Use up to ${MAX_TASK_ID} printable ASCII characters without spaces, such as job-7/step-2.`,
  });
}

/** Only operators. */
export function checkOperator(caller: Caller, action: string): void {
  if (caller.scope === 'fleet') return;
  throw new CoppiceError('Forbidden', 'operator-only', `this API key may not ${action}`, {
    remedy: "Use an operator's key.",
  });
}

/** A key for one project or branch opens nothing else; elsewhere things look absent rather than forbidden. */
export function checkScope(caller: Caller, projectId: ProjectId, branchId?: string): void {
  if (caller.projectId !== undefined && caller.projectId !== projectId) throw projectNotFound(projectId);
  if (caller.branchId !== undefined && branchId !== undefined && caller.branchId !== branchId)
    throw branchNotFound(branchId);
}

/** Only a key that is not bound to a project may make or end projects. */
export function checkUnbound(caller: Caller, action: string): void {
  if (caller.projectId === undefined && caller.branchId === undefined) return;
  throw new CoppiceError('Forbidden', 'key-scope', `this API key may not ${action}`, {
    remedy: 'Use a key that is not bound to a project.',
  });
}

export function projectNotFound(id: string): CoppiceError {
  return new CoppiceError('NotFound', 'project-not-found', `project ${shown(id)} does not exist`, {
    remedy: 'List the projects to see their ids.',
  });
}

export function branchNotFound(id: string): CoppiceError {
  return new CoppiceError(
    'NotFound',
    'branch-not-found',
    `branch ${shown(id)} does not exist in this project`,
    { remedy: 'List the branches to see their ids.' },
  );
}

export function endpointNotFound(id: string): CoppiceError {
  return new CoppiceError(
    'NotFound',
    'endpoint-not-found',
    `endpoint ${shown(id)} does not exist in this project`,
    { remedy: 'List the endpoints to see their ids.' },
  );
}

function shown(id: string): string {
  return JSON.stringify(id.slice(0, 60));
}
