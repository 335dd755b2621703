/** Who calls, by API key. Keys are `cpk_` and random; only their SHA-256 is kept. */
import { createHash } from 'node:crypto';
import { type Db, findPrincipal, type Principal } from '@coppice/catalog';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import type { CallContext } from '@coppice/contracts';
import type { ProjectId } from '@coppice/vocabulary';

/** A revoked key may work for so long still: the price of not asking the database for every request. */
const CACHE_MS = 2_000;
const MAX_CACHED = 10_000;
const BEARER = /^Bearer\s+(\S{1,512})$/i;
const MAX_TASK_ID = 255;

export function hashApiKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** A principal in the act: what it does is in the audit log under its task. */
export interface Caller extends Principal {
  readonly taskId: string | undefined;
  /** Restricts queries to the caller's own projects; absent for operators. */
  readonly agentFilter: string | undefined;
  readonly signal: AbortSignal;
}

export class Authorize {
  readonly #db: Db;
  readonly #clock: Clock;
  readonly #cache = new Map<string, { readonly principal: Principal; readonly until: number }>();

  constructor(db: Db, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
  }

  /** Throws `Unauthenticated` without a usable key. */
  async caller(context: CallContext): Promise<Caller> {
    const key = BEARER.exec(context.header('authorization') ?? '')?.[1];
    if (key === undefined)
      throw new CoppiceError('Unauthenticated', 'missing-api-key', 'the request carries no API key', {
        remedy: 'Send "Authorization: Bearer <api key>".',
      });
    const principal = await this.#principal(key);
    const taskId = context.header('x-task-id')?.slice(0, MAX_TASK_ID) || undefined;
    return {
      ...principal,
      taskId,
      agentFilter: principal.scope === 'fleet' ? undefined : principal.agentId,
      signal: context.signal,
    };
  }

  async #principal(key: string): Promise<Principal> {
    const hash = hashApiKey(key);
    const id = hash.toString('base64');
    const now = this.#clock.monotonic();
    const cached = this.#cache.get(id);
    if (cached && cached.until > now) return cached.principal;
    const principal = await findPrincipal(this.#db, hash);
    if (!principal)
      throw new CoppiceError('Unauthenticated', 'bad-api-key', 'the API key is unknown or revoked', {
        remedy: 'Use a valid key.',
      });
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    this.#cache.set(id, { principal, until: now + CACHE_MS });
    return principal;
  }
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
