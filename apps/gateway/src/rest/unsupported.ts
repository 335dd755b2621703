/** Refusing by name what would silently not happen. */
import { CoppiceError } from '@coppice/service-kit';
import { ORGANIZATION, REGION } from './shapes/constants';
import type { SettingsBody } from './schemas/projects';

/** Throws `unsupported-setting` for the first value that asks for something. */
export function refuseUnsupported(values: Readonly<Record<string, unknown>>): void {
  for (const [field, value] of Object.entries(values)) {
    if (!asksForNothing(value))
      throw new CoppiceError('Invalid', 'unsupported-setting', `${field} is not offered here`, {
        remedy: 'Leave it out.',
      });
  }
}

/** Clients send settings objects full of defaults. */
function asksForNothing(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === 0) return true;
  return typeof value === 'object' && Object.values(value).every(asksForNothing);
}

/** Throws for an organisation or a region that is not the one there is. */
export function checkPlace(asked: {
  readonly org?: string | undefined;
  readonly region?: string | undefined;
}): void {
  if (asked.org !== undefined && asked.org !== ORGANIZATION)
    throw new CoppiceError(
      'NotFound',
      'organization-not-found',
      `organization ${JSON.stringify(asked.org)} does not exist`,
      { remedy: `Use ${ORGANIZATION}, or leave it out.` },
    );
  if (asked.region !== undefined && asked.region !== REGION)
    throw new CoppiceError(
      'Invalid',
      'unsupported-region',
      `region ${JSON.stringify(asked.region)} is not offered`,
      {
        remedy: `Use ${REGION}, or leave region_id out.`,
      },
    );
}

/** Settings of a compute: none of them is offered, the default preload libraries are what there is. */
export function refuseComputeSettings(
  where: string,
  settings: Readonly<Record<string, unknown>> | undefined,
): void {
  const { preload_libraries: libraries, ...rest } = settings ?? {};
  refuseUnsupported(Object.fromEntries(Object.entries(rest).map(([name, v]) => [`${where}.${name}`, v])));
  refuseLibraries(where, libraries);
}

function refuseLibraries(where: string, libraries: unknown): void {
  const { use_defaults: _, ...named } = (libraries ?? {}) as Record<string, unknown>;
  refuseUnsupported({ [`${where}.preload_libraries`]: named });
}

/** Settings of a project besides its quota. */
export function refuseProjectSettings(settings: SettingsBody | undefined): void {
  const { quota: _, preload_libraries: libraries, audit_log_level: level, ...rest } = settings ?? {};
  refuseUnsupported(
    Object.fromEntries(Object.entries(rest).map(([name, v]) => [`project.settings.${name}`, v])),
  );
  refuseLibraries('project.settings', libraries);
  if (level !== 'base') refuseUnsupported({ 'project.settings.audit_log_level': level });
}
