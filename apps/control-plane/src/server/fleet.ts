/** The fleet contract, served: each call finds its caller, then does one thing. */
import { type CallContext, fleetContract, serve, type ServedContract } from '@coppice/contracts';
import type { Authorize, Caller } from '../access/authorize';
import type { Accounts } from '../accounts/accounts';
import type { Agents } from '../agents/agents';
import type { ApiKeys } from '../agents/api-keys';
import type { ScopedCredentials } from '../credentials/scoped-credentials';
import { previewReap } from '../reaping/preview-reap';
import type { ReapServices } from '../reaping/swept-item';
import { notOffered } from './not-offered';

export interface FleetServices {
  readonly accounts: Accounts;
  readonly authorize: Authorize;
  readonly agents: Agents;
  readonly apiKeys: ApiKeys;
  readonly credentials: ScopedCredentials;
  readonly reap: ReapServices;
}

export function serveFleet({
  authorize,
  accounts,
  agents,
  apiKeys,
  credentials,
  reap,
}: FleetServices): ServedContract {
  const asCaller =
    <Req, Res>(run: (caller: Caller, request: Req, context: CallContext) => Promise<Res>) =>
    async (request: Req, context: CallContext): Promise<Res> =>
      run(await authorize.caller(context), request, context);
  return serve(fleetContract, {
    ...notOffered(fleetContract),
    createAgent: asCaller((caller, request, context) => agents.create(caller, request, context)),
    listAgents: asCaller((caller, request) => agents.list(caller, request)),
    getAgent: asCaller((caller, request) => agents.get(caller, request)),
    updateAgent: asCaller((caller, request) => agents.update(caller, request)),
    deleteAgent: asCaller((caller, request) => agents.delete(caller, request)),
    createApiKey: asCaller((caller, request, context) => apiKeys.create(caller, request, context)),
    listApiKeys: asCaller((caller, request) => apiKeys.list(caller, request)),
    revokeApiKey: asCaller((caller, request) => apiKeys.revoke(caller, request)),
    createCredential: asCaller((caller, request, context) => credentials.create(caller, request, context)),
    listCredentials: asCaller((caller, request) => credentials.list(caller, request)),
    renewCredential: asCaller((caller, request) => credentials.renew(caller, request)),
    previewReap: asCaller((caller, request) => previewReap(reap, caller, request)),
    listAudit: asCaller((caller, request) => accounts.audit(caller, request)),
    getConsumption: asCaller((caller, request) => accounts.consumption(caller, request)),
    revokeCredential: asCaller((caller, request) => credentials.revoke(caller, request)),
  });
}
