/** Settings of a project between the contract and the metadata. Pure. */
import type { ProjectChanges } from '@coppice/catalog';
import type { ProjectSettings, UpdateProjectRequest } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import { checkComputeUnits, checkName, checkRetention, checkSuspendTimeout } from '../naming/limits';

type StoredSettings = NonNullable<ProjectChanges['settings']>;

/** Limits as they are stored: those that are 0 are left out. */
export function settingsFrom(settings: ProjectSettings | undefined): StoredSettings {
  if (!settings) return {};
  return {
    ...(settings.quotaActiveSeconds === 0 ? {} : { activeSeconds: settings.quotaActiveSeconds }),
    ...(settings.quotaComputeSeconds === 0 ? {} : { computeSeconds: settings.quotaComputeSeconds }),
    ...(settings.quotaWrittenBytes === 0 ? {} : { writtenBytes: settings.quotaWrittenBytes }),
    ...(settings.quotaTransferredBytes === 0 ? {} : { transferredBytes: settings.quotaTransferredBytes }),
    ...(settings.quotaLogicalSizeBytes === 0 ? {} : { logicalSizeBytes: settings.quotaLogicalSizeBytes }),
  };
}

/** Sizes that new endpoints of the project get; 0 leaves one to the fleet's default. */
export function defaultUnits(units: { readonly min: number; readonly max: number }): {
  min_compute_units: number;
  max_compute_units: number;
} {
  const checked = checkComputeUnits(units.min, units.max);
  return {
    min_compute_units: units.min === 0 ? 0 : checked.min,
    max_compute_units: units.max === 0 ? 0 : checked.max,
  };
}

/** What a request changes of a project that has these sizes. Throws when it may not be so. */
export function planProjectUpdate(
  row: { readonly min_compute_units: number; readonly max_compute_units: number },
  request: UpdateProjectRequest,
): ProjectChanges {
  const units = defaultUnits({
    min: request.minComputeUnits ?? row.min_compute_units,
    max: request.maxComputeUnits ?? row.max_compute_units,
  });
  if (request.name === '')
    throw new CoppiceError('Invalid', 'bad-name', 'the project name is empty', {
      remedy: 'Choose a name, or leave it out to keep the one it has.',
    });
  return {
    minComputeUnits: units.min_compute_units,
    maxComputeUnits: units.max_compute_units,
    ...(request.name === undefined ? {} : { name: checkName('project', request.name) }),
    ...(request.historyRetentionSeconds === undefined
      ? {}
      : { historyRetentionSeconds: checkRetention(request.historyRetentionSeconds) }),
    ...(request.suspendTimeoutSeconds === undefined
      ? {}
      : { suspendTimeoutSeconds: checkSuspendTimeout(request.suspendTimeoutSeconds) }),
    ...(request.settings === undefined ? {} : { settings: settingsFrom(request.settings) }),
  };
}
