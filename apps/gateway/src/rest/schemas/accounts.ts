/** Who calls, the one organisation, regions, API keys. */
import { z } from 'zod';
import { count, integer, pathId, text, when } from './primitives';

export const orgPath = z.object({ org_id: pathId });
const keyId = z
  .string()
  .regex(/^\d{1,15}$/, 'must be the number of a key')
  .transform(Number);
export const keyPath = z.object({ key_id: keyId });
export const orgKeyPath = orgPath.extend({ key_id: keyId });
export const agentKeyPath = keyPath.extend({ agent_id: pathId });
export const regionsQuery = z.strictObject({ org_id: pathId.optional() });

export const createKeyBody = z.strictObject({
  key_name: text(64, 1),
  project_id: pathId.optional(),
  branch_id: pathId.optional(),
  ttl_seconds: integer(1, 4_000_000_000).optional(),
});

export const authDetails = z.object({ account_id: z.string(), auth_method: z.string() });
export const currentUser = z.object({
  id: z.string(),
  email: z.string(),
  login: z.string(),
  name: z.string(),
  last_name: z.string(),
  image: z.string(),
  plan: z.string(),
  active_seconds_limit: count,
  projects_limit: count,
  branches_limit: count,
  max_autoscaling_limit: z.number(),
  auth_accounts: z.array(
    z.object({
      provider: z.string(),
      email: z.string(),
      name: z.string(),
      login: z.string(),
      image: z.string(),
    }),
  ),
});

export const organization = z.object({
  id: z.string(),
  name: z.string(),
  handle: z.string(),
  plan: z.string(),
  created_at: when,
  updated_at: when,
  managed_by: z.string(),
});
export const organizations = z.object({ organizations: z.array(organization) });
export const regions = z.object({
  regions: z.array(
    z.object({
      region_id: z.string(),
      name: z.string(),
      default: z.boolean(),
      geo_lat: z.string(),
      geo_long: z.string(),
    }),
  ),
});

const key = z.object({
  id: count,
  name: z.string(),
  created_at: when,
  scope: z.string(),
  agent_id: z.string(),
  project_id: z.string().optional(),
  branch_id: z.string().optional(),
  expires_at: when.optional(),
});
const used = { last_used_at: when.optional(), last_used_from_addr: z.string() };
export const keyListItem = key.extend({
  ...used,
  created_by: z.object({ id: z.string(), name: z.string(), image: z.string() }),
});
export const keyList = z.array(keyListItem);
export const keyCreated = key.extend({ key: z.string(), created_by: z.string() });
export const keyRevoked = key.extend({ ...used, created_by: z.string(), revoked: z.boolean() });
