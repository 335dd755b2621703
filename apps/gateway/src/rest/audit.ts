/** Who did what, and what the reaper is about to do. */
import { time } from './formats';
import { nextPage, route } from './route';
import * as schemas from './schemas/fleet';
import { auditEntryJson } from './shapes/fleet';

export const auditRoutes = [
  route({
    method: 'GET',
    path: '/audit_log',
    operationId: 'listAuditLog',
    summary: 'Who did what to which branch for which task, newest first',
    query: schemas.auditQuery,
    status: 200,
    response: schemas.auditLog,
    handle: async ({ query, fleet, call }) => {
      const { entries, nextCursor } = await fleet.listAudit(
        {
          cursor: query.cursor ?? '',
          limit: query.limit ?? 0,
          projectId: query.project_id ?? '',
          branchId: query.branch_id ?? '',
          agentId: query.agent_id ?? '',
          taskId: query.task_id ?? '',
        },
        call,
      );
      return { entries: entries.map(auditEntryJson), pagination: nextPage(nextCursor) };
    },
  }),
  route({
    method: 'GET',
    path: '/reaper/preview',
    operationId: 'previewReap',
    summary: 'What the reaper would end now and why; nothing is changed; operators only',
    query: schemas.reapQuery,
    status: 200,
    response: schemas.reapPreview,
    handle: async ({ query, fleet, call }) => {
      const { candidates } = await fleet.previewReap({ limit: query.limit ?? 0 }, call);
      return {
        candidates: candidates.map((c) => ({
          kind: c.kind,
          id: c.id,
          project_id: c.projectId || undefined,
          branch_id: c.branchId || undefined,
          due_at: time(c.dueUnixMs),
          why: c.why,
        })),
      };
    },
  }),
];
