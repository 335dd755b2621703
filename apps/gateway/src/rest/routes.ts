/** The whole REST surface. */
import { accountRoutes } from './accounts';
import { agentRoutes } from './agents';
import { apiKeyRoutes } from './api-keys';
import { auditRoutes } from './audit';
import { branchRoutes } from './branches';
import { consumptionRoutes } from './consumption';
import { credentialRoutes } from './credentials';
import { databaseRoutes } from './databases';
import { endpointRoutes } from './endpoints';
import { operationRoutes } from './operations';
import { emptyListRoutes, projectRoutes } from './projects';
import { checkpointRoutes, rewindRoutes } from './rewind';
import { roleRoutes } from './roles';
import type { Route } from './route';
import { snapshotRoutes } from './snapshots';

export const ROUTES: readonly Route[] = [
  ...projectRoutes,
  ...emptyListRoutes,
  ...branchRoutes,
  ...rewindRoutes,
  ...checkpointRoutes,
  ...snapshotRoutes,
  ...endpointRoutes,
  ...roleRoutes,
  ...databaseRoutes,
  ...operationRoutes,
  ...credentialRoutes,
  ...accountRoutes,
  ...apiKeyRoutes,
  ...agentRoutes,
  ...auditRoutes,
  ...consumptionRoutes,
];
