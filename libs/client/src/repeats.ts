/**
 * What may be asked again when it is unknown whether the first time took effect.
 *
 *   keyed    the request carries an idempotency key: asked again, the first answer comes back
 *   plain    reading, or putting into a state that is the same the second time
 *   refused  all else: asked again only when the server said itself that it did nothing
 */
import type { controlContract, fleetContract } from '@coppice/contracts';

export type Method = keyof (typeof controlContract)['methods'] | keyof (typeof fleetContract)['methods'];
export type Repeat = 'keyed' | 'plain' | 'refused';

export const REPEATS: Readonly<Record<Method, Repeat>> = {
  createProject: 'keyed',
  createBranch: 'keyed',
  createCheckpoint: 'keyed',
  createSnapshot: 'keyed',
  createEndpoint: 'keyed',
  createRole: 'keyed',
  createDatabase: 'keyed',
  createAgent: 'keyed',
  createApiKey: 'keyed',
  createCredential: 'keyed',
  restoreBranch: 'keyed',
  restoreSnapshot: 'keyed',

  listProjects: 'plain',
  getProject: 'plain',
  updateProject: 'plain',
  listBranches: 'plain',
  countBranches: 'plain',
  getBranch: 'plain',
  updateBranch: 'plain',
  setDefaultBranch: 'plain',
  renewBranch: 'plain',
  getBranchSchema: 'plain',
  compareBranchSchemas: 'plain',
  listCheckpoints: 'plain',
  listSnapshots: 'plain',
  updateSnapshot: 'plain',
  listEndpoints: 'plain',
  getEndpoint: 'plain',
  getEndpointActivity: 'plain',
  updateEndpoint: 'plain',
  startEndpoint: 'plain',
  suspendEndpoint: 'plain',
  restartEndpoint: 'plain',
  listRoles: 'plain',
  getRole: 'plain',
  revealRolePassword: 'plain',
  // The password of an answer that was lost is known to nobody.
  resetRolePassword: 'plain',
  listDatabases: 'plain',
  getDatabase: 'plain',
  getConnectionUri: 'plain',
  listOperations: 'plain',
  getOperation: 'plain',
  whoAmI: 'plain',
  getReadiness: 'plain',
  listAgents: 'plain',
  getAgent: 'plain',
  updateAgent: 'plain',
  listApiKeys: 'plain',
  revokeApiKey: 'plain',
  listCredentials: 'plain',
  renewCredential: 'plain',
  revokeCredential: 'plain',
  listAudit: 'plain',
  getConsumption: 'plain',
  previewReap: 'plain',

  deleteProject: 'refused',
  recoverProject: 'refused',
  deleteBranch: 'refused',
  recoverBranch: 'refused',
  deleteCheckpoint: 'refused',
  deleteSnapshot: 'refused',
  finalizeRestore: 'refused',
  deleteEndpoint: 'refused',
  deleteRole: 'refused',
  updateDatabase: 'refused',
  deleteDatabase: 'refused',
  deleteAgent: 'refused',
};
