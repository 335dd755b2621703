/** Credentials that open exactly one branch, read-write or read-only, for a while. */
import {
  type CatalogTables,
  type CredentialRow,
  findBranch,
  insertIdempotent,
  insertScopedCredential,
  listDatabases,
  listEndpoints,
  listRoles,
  listScopedCredentials,
  MAX_SCOPED_CREDENTIALS,
  recordAudit,
  renewScopedCredential,
  revokeScopedCredential,
} from '@coppice/catalog';
import type {
  CallContext,
  CreateCredentialRequest,
  CredentialCreated,
  CredentialList,
  CredentialModel,
} from '@coppice/contracts';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import { type BranchId, parseBranchId, type ProjectId } from '@coppice/vocabulary';
import type { Kysely } from 'kysely';
import { branchNotFound, type Caller, checkScope } from '../access/authorize';
import { idempotently } from '../access/idempotent';
import type { Identifiers } from '../naming/identifiers';
import { checkName } from '../naming/limits';
import type { Projects } from '../projects/projects';
import { connectionUri, type ProxyAddress } from './connection-uri';
import type { Passwords } from './passwords';

const DEFAULT_TTL_SECONDS = 3_600;
const MAX_TTL_SECONDS = 2_592_000;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface ScopedCredentialServices {
  readonly db: Kysely<CatalogTables>;
  readonly projects: Projects;
  readonly passwords: Passwords;
  readonly identifiers: Identifiers;
  readonly proxy: ProxyAddress;
  readonly clock: Clock;
}

interface OfBranch {
  readonly projectId: string;
  readonly branchId: string;
}

export class ScopedCredentials {
  readonly #s: ScopedCredentialServices;

  constructor(services: ScopedCredentialServices) {
    this.#s = services;
  }

  async create(
    caller: Caller,
    request: CreateCredentialRequest,
    context: CallContext,
  ): Promise<CredentialCreated> {
    const { db, passwords, identifiers, clock } = this.#s;
    const { projectId, branchId } = await this.#branch(caller, request);
    const access = accessOf(request.access);
    const ttlSeconds = request.ttlSeconds || DEFAULT_TTL_SECONDS;
    if (ttlSeconds > MAX_TTL_SECONDS)
      throw new CoppiceError('Invalid', 'bad-ttl', `ttl_seconds is ${ttlSeconds}`, {
        remedy: `Use 1 to ${MAX_TTL_SECONDS}; a credential can be renewed.`,
      });
    const roleName = await this.#roleName(branchId, request.roleName);
    const name = checkName('credential', request.name);
    return idempotently<CredentialCreated>(db, caller, context, {
      method: 'create-credential',
      request,
      run: async (entry) => {
        const id = identifiers.operation();
        const verifier = await passwords.scopedVerifier(id);
        const now = new Date(clock.now());
        const kept = await db.transaction().execute(async (tx) => {
          const row = await insertScopedCredential(tx, {
            id,
            branchId,
            name,
            login: identifiers.login(),
            roleName,
            access,
            ttlSeconds,
            verifier,
            createdBy: caller.agentId,
            now,
          });
          if (!row)
            throw new CoppiceError(
              'Conflict',
              'too-many-credentials',
              `branch ${branchId} has ${MAX_SCOPED_CREDENTIALS} live credentials`,
              { remedy: 'Revoke some that are not needed any more.' },
            );
          const made = { credential: credentialModel(row, projectId), password: '', connectionUri: '' };
          await recordAudit(tx, {
            ...caller.audit,
            action: 'create-credential',
            projectId,
            branchId,
            detail: { credential: id, access, role: roleName, ttlSeconds },
            now,
          });
          if (entry) await insertIdempotent(tx, caller.agentId, entry(made), now);
          return made;
        });
        return this.#reveal(kept);
      },
      reveal: (kept) => this.#reveal(kept),
    });
  }

  async list(caller: Caller, request: OfBranch): Promise<CredentialList> {
    const { projectId, branchId } = await this.#branch(caller, request);
    const rows = await listScopedCredentials(this.#s.db, branchId, new Date(this.#s.clock.now()));
    return { credentials: rows.map((r) => credentialModel(r, projectId)) };
  }

  async renew(caller: Caller, request: OfBranch & { credentialId: string }): Promise<CredentialModel> {
    return this.#change(caller, request, 'renew-credential', renewScopedCredential);
  }

  /** Its sessions end when the proxy next asks, within seconds. */
  async revoke(caller: Caller, request: OfBranch & { credentialId: string }): Promise<CredentialModel> {
    return this.#change(caller, request, 'revoke-credential', revokeScopedCredential);
  }

  async #change(
    caller: Caller,
    request: OfBranch & { credentialId: string },
    action: string,
    change: typeof renewScopedCredential,
  ): Promise<CredentialModel> {
    const { db, clock } = this.#s;
    const { projectId, branchId } = await this.#branch(caller, request);
    const now = new Date(clock.now());
    return db.transaction().execute(async (tx) => {
      const row = UUID.test(request.credentialId)
        ? await change(tx, branchId, request.credentialId, now)
        : undefined;
      if (!row)
        throw new CoppiceError(
          'NotFound',
          'credential-not-found',
          `credential ${JSON.stringify(request.credentialId.slice(0, 60))} does not exist on branch ${branchId}, or is over`,
          { remedy: 'List the credentials, or make a new one.' },
        );
      const detail = { credential: row.id };
      await recordAudit(tx, { ...caller.audit, action, projectId, branchId, detail, now });
      return credentialModel(row, projectId);
    });
  }

  async #branch(caller: Caller, request: OfBranch): Promise<{ projectId: ProjectId; branchId: BranchId }> {
    const project = await this.#s.projects.find(caller, request.projectId);
    checkScope(caller, project.id, request.branchId);
    const branchId = parseBranchId(request.branchId);
    if (!branchId || !(await findBranch(this.#s.db, project.id, branchId)))
      throw branchNotFound(request.branchId);
    return { projectId: project.id, branchId };
  }

  async #roleName(branchId: BranchId, asked: string): Promise<string> {
    const roles = (await listRoles(this.#s.db, branchId)).map((r) => r.name);
    const name = asked || (await listDatabases(this.#s.db, branchId))[0]?.owner_name;
    if (name !== undefined && roles.includes(name)) return name;
    throw new CoppiceError(
      'NotFound',
      'role-not-found',
      `role ${JSON.stringify((name ?? '').slice(0, 63))} does not exist on branch ${branchId}`,
      { remedy: `There are: ${roles.join(', ')}.` },
    );
  }

  /** With the password, and how to connect when the branch has an endpoint. */
  async #reveal(kept: CredentialCreated): Promise<CredentialCreated> {
    const { db, passwords, proxy } = this.#s;
    const { credential } = kept;
    const password = passwords.deriveScoped(credential.id);
    const branchId = credential.branchId as BranchId;
    const [database] = await listDatabases(db, branchId);
    const endpoints = await listEndpoints(db, credential.projectId as ProjectId, branchId);
    const endpoint = endpoints.find((e) => e.type === 'read_write') ?? endpoints[0];
    if (!database || !endpoint) return { ...kept, password };
    const { uri } = connectionUri(proxy, {
      endpoint: endpoint.id,
      database: database.name,
      role: credential.login,
      password,
      pooled: false,
    });
    return { ...kept, password, connectionUri: uri };
  }
}

function accessOf(text: string): 'read_write' | 'read_only' {
  if (text === '' || text === 'read_write') return 'read_write';
  if (text === 'read_only') return text;
  throw new CoppiceError('Invalid', 'bad-access', `access is ${JSON.stringify(text.slice(0, 40))}`, {
    remedy: 'Use read_write or read_only.',
  });
}

function credentialModel(row: CredentialRow, projectId: ProjectId): CredentialModel {
  return {
    id: row.id,
    projectId,
    branchId: row.branch_id,
    name: row.name,
    login: row.login ?? '',
    roleName: row.role_name,
    access: row.access,
    ttlSeconds: row.ttl_seconds ?? 0,
    expiresUnixMs: row.expires_at ?? 0,
    revokedUnixMs: row.revoked_at ?? 0,
    createdUnixMs: row.created_at,
  };
}
