/** Who calls, and the one organisation and region there are. */
import { route } from './route';
import * as schemas from './schemas/accounts';
import { organizationJson, userJson } from './shapes/accounts';
import { REGION } from './shapes/constants';
import { checkPlace } from './unsupported';

export const accountRoutes = [
  route({
    method: 'GET',
    path: '/auth',
    operationId: 'getAuthDetails',
    summary: 'How the request is authenticated',
    status: 200,
    response: schemas.authDetails,
    handle: async ({ control, call }) => ({
      account_id: (await control.whoAmI({}, call)).agentId,
      auth_method: 'api_key_user',
    }),
  }),
  route({
    method: 'GET',
    path: '/users/me',
    operationId: 'getCurrentUserInfo',
    summary: 'The agent that the API key belongs to; limits of 0 say nothing, its quotas are under /agents',
    status: 200,
    response: schemas.currentUser,
    handle: async ({ control, call }) => userJson(await control.whoAmI({}, call)),
  }),
  route({
    method: 'GET',
    path: '/users/me/organizations',
    operationId: 'getCurrentUserOrganizations',
    summary: 'Lists organisations: the one that all agents are in',
    status: 200,
    response: schemas.organizations,
    handle: async ({ control, call }) => ({
      organizations: [organizationJson(await control.whoAmI({}, call))],
    }),
  }),
  route({
    method: 'GET',
    path: '/organizations/{org_id}',
    operationId: 'getOrganization',
    summary: 'The organisation',
    params: schemas.orgPath,
    status: 200,
    response: schemas.organization,
    handle: async ({ path, control, call }) => {
      const caller = await control.whoAmI({}, call);
      checkPlace({ org: path.org_id });
      return organizationJson(caller);
    },
  }),
  route({
    method: 'GET',
    path: '/regions',
    operationId: 'getActiveRegions',
    summary: 'Lists regions: the one there is',
    query: schemas.regionsQuery,
    status: 200,
    response: schemas.regions,
    handle: async ({ query, control, call }) => {
      await control.whoAmI({}, call);
      checkPlace({ org: query.org_id });
      return { regions: [{ region_id: REGION, name: 'Here', default: true, geo_lat: '', geo_long: '' }] };
    },
  }),
];
