/** What endpoints may become. Pure. */
import type { EndpointSettings } from '@coppice/catalog';
import type { CreateEndpointRequest, UpdateEndpointRequest } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import type { BranchId } from '@coppice/vocabulary';
import { checkComputeUnits, checkName, checkSuspendTimeout } from '../naming/limits';

/** The settings of a new endpoint. Throws when it may not be so. */
export function planEndpoint(request: CreateEndpointRequest, branchId: BranchId): EndpointSettings {
  const { type, suspendTimeoutSeconds, minComputeUnits, maxComputeUnits } = request.endpoint;
  if (type !== 'read_write')
    throw new CoppiceError(
      'Invalid',
      'unsupported-endpoint-type',
      `endpoints of type ${JSON.stringify(type.slice(0, 40))} are not offered`,
      {
        remedy:
          'Use read_write. To only read, make a credential with read_only access, or fork the branch and read there.',
      },
    );
  const units = checkComputeUnits(minComputeUnits, maxComputeUnits);
  return {
    branchId,
    name: checkName('endpoint', request.name),
    disabled: request.disabled,
    suspendTimeoutSeconds: checkSuspendTimeout(suspendTimeoutSeconds),
    minComputeUnits: units.min,
    maxComputeUnits: units.max,
  };
}

export interface EndpointPlan {
  readonly settings: EndpointSettings;
  /** What runs cannot go on: it is disabled, or its branch is another. */
  readonly stops: boolean;
}

/** An endpoint as a request leaves it, on the branch given. Throws when it may not be so. */
export function planEndpointUpdate(
  now: EndpointSettings,
  request: UpdateEndpointRequest,
  branchId: BranchId,
): EndpointPlan {
  const units = checkComputeUnits(
    request.minComputeUnits ?? now.minComputeUnits,
    request.maxComputeUnits ?? now.maxComputeUnits,
  );
  const disabled = request.disabled ?? now.disabled;
  return {
    settings: {
      branchId,
      name: request.name === undefined ? now.name : checkName('endpoint', request.name),
      disabled,
      suspendTimeoutSeconds: checkSuspendTimeout(request.suspendTimeoutSeconds ?? now.suspendTimeoutSeconds),
      minComputeUnits: units.min,
      maxComputeUnits: units.max,
    },
    stops: disabled || branchId !== now.branchId,
  };
}
