import { computeAgentContract, serve, type ServedContract } from '@coppice/contracts';
import type { ComputeRegistry } from '../computes/compute-registry';
import type { TemplateBuilder } from '../template/build-template';

/** The gRPC service of protos/compute.proto. */
export function computeService(computes: ComputeRegistry, templates: TemplateBuilder): ServedContract {
  return serve(computeAgentContract, {
    startCompute: (request) => computes.start(request),
    stopCompute: ({ computeId, immediate }) => computes.stop(computeId, immediate),
    getCompute: ({ computeId, look }, { signal }) => (look ? computes.lookAt(computeId, signal) : Promise.resolve(computes.get(computeId).status())),
    listComputes: async () => ({ computes: computes.list() }),
    runSql: async ({ computeId, ...request }, { signal }) => ({ results: await computes.get(computeId).running.runSql(request, signal) }),
    setComputeLimits: (request) => computes.setLimits(request),
    buildTemplate: ({ timelineId, timelineToken }, { signal }) => templates.build(timelineId, timelineToken, signal),
  });
}
