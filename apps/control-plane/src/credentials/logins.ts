/** What the proxy needs to let a client in, and what an API client needs to get in. */
import {
  type CredentialRow,
  type Db,
  findBranch,
  findLogin,
  listDatabases,
  listEndpoints,
  listRoles,
  storeVerifier,
  verifierOf,
} from '@coppice/catalog';
import type { ConnectionUriModel, ConnectionUriRequest, Login } from '@coppice/contracts';
import { type Clock, CoppiceError } from '@coppice/service-kit';
import { type BranchId, parseBranchId, parseEndpointId } from '@coppice/vocabulary';
import { branchNotFound, type Caller, checkScope, endpointNotFound } from '../access/authorize';
import type { Projects } from '../projects/projects';
import { connectionUri, type ProxyAddress } from './connection-uri';
import type { Passwords } from './passwords';

/** The role of read-only sessions: it may read everything and write nothing. Every branch has it, from its template on. */
export const READER_ROLE = 'coppice_reader';

export interface LoginServices {
  readonly db: Db;
  readonly projects: Projects;
  readonly passwords: Passwords;
  readonly proxy: ProxyAddress;
  readonly clock: Clock;
}

export class Logins {
  readonly #s: LoginServices;

  constructor(services: LoginServices) {
    this.#s = services;
  }

  /** The verifiers of a role on the branch behind an endpoint; none when the role is unknown, so that it cannot be told apart. */
  async login(endpointText: string, role: string): Promise<Login> {
    const endpointId = parseEndpointId(endpointText);
    const found =
      endpointId && role.length <= 255 && !role.includes('\0')
        ? await findLogin(this.#s.db, endpointId, role, new Date(this.#s.clock.now()))
        : undefined;
    if (!found) throw endpointNotFound(endpointText);
    const verifiers = await Promise.all(found.credentials.map((c) => this.#verifier(c)));
    return { branchId: found.branchId, verifiers, agentId: found.agentId };
  }

  async #verifier(row: CredentialRow): Promise<Login['verifiers'][number]> {
    const made =
      verifierOf(row) ??
      (await storeVerifier(
        this.#s.db,
        row.id,
        await this.#s.passwords.verifier({
          branchId: row.branch_id,
          role: row.role_name,
          version: row.version,
        }),
      ));
    if (!made)
      throw new CoppiceError('NotFound', 'credential-not-found', 'the credential is gone', {
        remedy: 'Ask for a new connection string.',
      });
    return {
      ...made,
      credentialId: row.id,
      expiresUnixMs: row.expires_at ?? 0,
      readOnly: row.access === 'read_only',
      connectAs: row.access === 'read_only' ? READER_ROLE : row.role_name,
    };
  }

  async uri(caller: Caller, request: ConnectionUriRequest): Promise<ConnectionUriModel> {
    const { db, projects, passwords, proxy } = this.#s;
    const project = await projects.find(caller, request.projectId);
    const endpoint = await this.#endpoint(project.id, project.default_branch_id, request);
    const branchId = endpoint.branch_id;
    if (request.endpointId !== '' && caller.branchId !== undefined && caller.branchId !== branchId)
      throw endpointNotFound(request.endpointId);
    checkScope(caller, project.id, branchId);
    const [roles, databases] = [await listRoles(db, branchId), await listDatabases(db, branchId)];
    const role = roles.find((r) => r.name === request.roleName);
    if (role?.version == null) {
      throw new CoppiceError(
        'NotFound',
        'role-not-found',
        `role ${JSON.stringify(request.roleName.slice(0, 63))} does not exist on branch ${branchId}`,
        { remedy: `There are: ${roles.map((r) => r.name).join(', ')}.` },
      );
    }
    const database = databases.find((d) => d.name === request.databaseName);
    if (!database) {
      throw new CoppiceError(
        'NotFound',
        'database-not-found',
        `database ${JSON.stringify(request.databaseName.slice(0, 63))} does not exist on branch ${branchId}`,
        { remedy: `There are: ${databases.map((d) => d.name).join(', ')}.` },
      );
    }
    const password = passwords.derive({ branchId, role: role.name, version: role.version });
    return connectionUri(proxy, {
      endpoint: endpoint.id,
      database: database.name,
      role: role.name,
      password,
      pooled: request.pooled,
    });
  }

  async #endpoint(
    projectId: Parameters<typeof listEndpoints>[1],
    defaultBranch: BranchId,
    request: ConnectionUriRequest,
  ) {
    const branchId = request.branchId === '' ? defaultBranch : parseBranchId(request.branchId);
    if (!branchId) throw branchNotFound(request.branchId);
    if (request.endpointId !== '') {
      const endpointId = parseEndpointId(request.endpointId);
      const named = (await listEndpoints(this.#s.db, projectId)).find((e) => e.id === endpointId);
      if (!named || (request.branchId !== '' && named.branch_id !== branchId))
        throw endpointNotFound(request.endpointId);
      return named;
    }
    if (!(await findBranch(this.#s.db, projectId, branchId))) throw branchNotFound(branchId);
    const endpoint = (await listEndpoints(this.#s.db, projectId, branchId)).find(
      (e) => e.type === 'read_write',
    );
    if (endpoint) return endpoint;
    throw new CoppiceError(
      'NotFound',
      'endpoint-not-found',
      `branch ${branchId} has no read_write endpoint`,
      { remedy: 'Create one, or fork the branch with an endpoint.' },
    );
  }
}
