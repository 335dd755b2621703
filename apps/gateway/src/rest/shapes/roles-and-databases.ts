import type { DatabaseChanged, DatabaseModel, RoleChanged, RoleModel } from '@coppice/contracts';
import type { z } from 'zod';
import { time } from '../formats';
import type * as schemas from '../schemas/roles-and-databases';
import { operationJson } from './operations';

export function roleJson(r: RoleModel): z.infer<typeof schemas.role> {
  return {
    branch_id: r.branchId,
    name: r.name,
    password: r.password || undefined,
    protected: r.isProtected,
    authentication_method: 'password',
    created_at: time(r.createdUnixMs),
    updated_at: time(r.updatedUnixMs),
  };
}

export function databaseJson(d: DatabaseModel): z.infer<typeof schemas.database> {
  return {
    id: d.id,
    branch_id: d.branchId,
    name: d.name,
    owner_name: d.ownerName,
    created_at: time(d.createdUnixMs),
    updated_at: time(d.updatedUnixMs),
  };
}

export function roleChangedJson({ role, operations }: RoleChanged) {
  return { role: roleJson(role), operations: operations.map(operationJson) };
}

export function databaseChangedJson({ database, operations }: DatabaseChanged) {
  return { database: databaseJson(database), operations: operations.map(operationJson) };
}
