import { z } from 'zod';
import { operations } from './operations';
import { branchPath, count, identifier, text, when } from './primitives';

export const rolePath = branchPath.extend({ role_name: text(255, 1) });
export const databasePath = branchPath.extend({ database_name: text(255, 1) });

export const createRoleBody = z.strictObject({
  role: z.strictObject({ name: identifier, no_login: z.boolean().optional() }),
});
export const createDatabaseBody = z.strictObject({
  database: z.strictObject({ name: identifier, owner_name: identifier }),
});
export const updateDatabaseBody = z.strictObject({
  database: z.strictObject({ name: identifier.optional(), owner_name: identifier.optional() }),
});

export const role = z.object({
  branch_id: z.string(),
  name: z.string(),
  password: z.string().optional(),
  protected: z.boolean(),
  authentication_method: z.string(),
  created_at: when,
  updated_at: when,
});
export const database = z.object({
  id: count,
  branch_id: z.string(),
  name: z.string(),
  owner_name: z.string(),
  created_at: when,
  updated_at: when,
});

export const roleResponse = z.object({ role });
export const rolesResponse = z.object({ roles: z.array(role) });
export const roleOperations = z.object({ role, operations });
export const rolePassword = z.object({ password: z.string() });
export const databaseResponse = z.object({ database });
export const databasesResponse = z.object({ databases: z.array(database) });
export const databaseOperations = z.object({ database, operations });
