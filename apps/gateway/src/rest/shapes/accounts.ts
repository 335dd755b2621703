import { createHash } from 'node:crypto';
import type { ApiKeyCreated, ApiKeyModel, PrincipalModel } from '@coppice/contracts';
import type { z } from 'zod';
import { time, timestamp } from '../formats';
import type * as schemas from '../schemas/accounts';
import { ORGANIZATION, PLAN } from './constants';

/** A UUID that always stands for the same text: some of Neon's shapes want one where we have names. */
export function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  const variant = '89ab'[Number.parseInt(hex[16]!, 16) % 4]!;
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** An agent as a user. It has no mailbox: `.invalid` names are reserved for saying so. */
export function userJson(p: PrincipalModel): z.infer<typeof schemas.currentUser> {
  const email = `${p.agentId}@coppice.invalid`;
  return {
    id: p.agentId,
    email,
    login: p.agentId,
    name: p.name,
    last_name: '',
    image: '',
    plan: PLAN,
    active_seconds_limit: 0,
    projects_limit: 0,
    branches_limit: 0,
    max_autoscaling_limit: 0,
    auth_accounts: [{ provider: 'keycloak', email, name: p.name, login: p.agentId, image: '' }],
  };
}

export function organizationJson(p: PrincipalModel): z.infer<typeof schemas.organization> {
  return {
    id: ORGANIZATION,
    name: 'Coppice',
    handle: 'coppice',
    plan: PLAN,
    created_at: time(p.createdUnixMs),
    updated_at: time(p.createdUnixMs),
    managed_by: 'coppice',
  };
}

function keyCommon(k: ApiKeyModel) {
  return {
    id: k.id,
    name: k.name,
    created_at: time(k.createdUnixMs),
    scope: k.scope,
    agent_id: k.agentId,
    project_id: k.projectId || undefined,
    branch_id: k.branchId || undefined,
    expires_at: timestamp(k.expiresUnixMs),
  };
}

const usedJson = (k: ApiKeyModel) => ({
  last_used_at: timestamp(k.lastUsedUnixMs),
  last_used_from_addr: k.lastUsedFrom,
});

export function keyListItemJson(k: ApiKeyModel): z.infer<typeof schemas.keyListItem> {
  return {
    ...keyCommon(k),
    ...usedJson(k),
    created_by: { id: uuidOf(k.agentId), name: k.agentId, image: '' },
  };
}

export function keyCreatedJson({ key, secret }: ApiKeyCreated): z.infer<typeof schemas.keyCreated> {
  return { ...keyCommon(key), key: secret, created_by: uuidOf(key.agentId) };
}

export function keyRevokedJson(k: ApiKeyModel): z.infer<typeof schemas.keyRevoked> {
  return { ...keyCommon(k), ...usedJson(k), created_by: uuidOf(k.agentId), revoked: k.revokedUnixMs > 0 };
}
