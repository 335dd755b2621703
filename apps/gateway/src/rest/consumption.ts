/** Accounts: Neon's history of projects and branches, and ours of agents and task trees. */
import type { ConsumptionFrame } from '@coppice/contracts';
import { expiryMs } from './formats';
import { nextPage, type RestRequest, route } from './route';
import * as schemas from './schemas/consumption';
import { agentPath } from './schemas/fleet';
import { frameJson, periodsJson, v1FrameJson, v2FrameJson } from './shapes/consumption';
import { checkPlace } from './unsupported';

interface Span {
  readonly from: string;
  readonly to: string;
  readonly granularity: string;
}
const spanOf = ({ from, to, granularity }: Span) => ({
  fromUnixMs: expiryMs(from),
  toUnixMs: expiryMs(to),
  granularity,
});

interface Page extends Span {
  readonly cursor?: string | undefined;
  readonly limit?: number | undefined;
  readonly org_id?: string | undefined;
  readonly project_ids?: readonly string[] | undefined;
}
function byProject({ query, fleet, call }: RestRequest<unknown, Page, unknown>) {
  checkPlace({ org: query.org_id });
  return fleet.getConsumption(
    {
      by: 'project',
      ...spanOf(query),
      projectIds: query.project_ids ?? [],
      cursor: query.cursor ?? '',
      limit: query.limit ?? 0,
    },
    call,
  );
}

export const consumptionRoutes = [
  route({
    method: 'GET',
    path: '/consumption_history/projects',
    operationId: 'getConsumptionHistoryPerProject',
    summary: 'What projects used over time',
    query: schemas.v1Query,
    status: 200,
    response: schemas.v1History,
    handle: async (request) => {
      const { rows, nextCursor } = await byProject(request);
      const metrics = request.query.metrics ?? [];
      return {
        projects: rows.map(({ projectId, frames }) => ({
          project_id: projectId,
          periods: periodsJson(projectId, frames, request.now, (f: ConsumptionFrame) =>
            v1FrameJson(f, metrics),
          ),
        })),
        pagination: nextPage(nextCursor),
      };
    },
  }),
  route({
    method: 'GET',
    path: '/consumption_history/v2/projects',
    operationId: 'getConsumptionHistoryPerProjectV2',
    summary: 'What projects used over time, as named metrics',
    query: schemas.v2ProjectsQuery,
    status: 200,
    response: schemas.v2ProjectsHistory,
    handle: async (request) => {
      const { rows, nextCursor } = await byProject(request);
      const { metrics } = request.query;
      return {
        projects: rows.map(({ projectId, frames }) => ({
          project_id: projectId,
          periods: periodsJson(projectId, frames, request.now, (f: ConsumptionFrame) =>
            v2FrameJson(f, metrics),
          ),
        })),
        pagination: nextPage(nextCursor),
      };
    },
  }),
  route({
    method: 'GET',
    path: '/consumption_history/v2/branches',
    operationId: 'getConsumptionHistoryPerBranchV2',
    summary: 'What branches used over time, as named metrics',
    query: schemas.v2BranchesQuery,
    status: 200,
    response: schemas.v2BranchesHistory,
    handle: async ({ query, fleet, call, now }) => {
      checkPlace({ org: query.org_id });
      const { rows, nextCursor } = await fleet.getConsumption(
        {
          by: 'branch',
          ...spanOf(query),
          projectIds: query.project_ids,
          branchIds: query.branch_ids ?? [],
          cursor: query.cursor ?? '',
          limit: query.limit ?? 100,
        },
        call,
      );
      return {
        branches: rows.map(({ projectId, branchId, frames }) => ({
          project_id: projectId,
          branch_id: branchId,
          periods: periodsJson(branchId, frames, now, (f: ConsumptionFrame) => v2FrameJson(f, query.metrics)),
        })),
        pagination: nextPage(nextCursor),
      };
    },
  }),
  route({
    method: 'GET',
    path: '/agents/{agent_id}/consumption',
    operationId: 'getAgentConsumption',
    summary: 'What an agent used over time',
    params: agentPath,
    query: schemas.spanQuery,
    status: 200,
    response: schemas.agentConsumption,
    handle: async ({ path, query, fleet, call }) => {
      const { rows } = await fleet.getConsumption(
        { by: 'agent', agentId: path.agent_id, ...spanOf(query) },
        call,
      );
      return { agent_id: path.agent_id, consumption: (rows[0]?.frames ?? []).map(frameJson) };
    },
  }),
  route({
    method: 'GET',
    path: '/tasks/{task_id}/consumption',
    operationId: 'getTaskConsumption',
    summary: 'What a task and those below it used over time',
    params: schemas.taskPath,
    query: schemas.spanQuery,
    status: 200,
    response: schemas.taskConsumption,
    handle: async ({ path, query, fleet, call }) => {
      const { rows } = await fleet.getConsumption(
        { by: 'task', taskId: path.task_id, ...spanOf(query) },
        call,
      );
      return { task_id: path.task_id, consumption: (rows[0]?.frames ?? []).map(frameJson) };
    },
  }),
];
