import type { NewBranch } from '@coppice/catalog';
import type { Identifiers } from '../naming/identifiers';

/** The operations that tell how a branch was made: `action` for the branch itself, then one for each endpoint. */
export function creationOperations(
  action: 'create_branch' | 'create_timeline',
  endpoints: NewBranch['endpoints'],
  identifiers: Identifiers,
  durationMs: number,
): NewBranch['operations'] {
  const operation = (
    name: string,
    endpointId: NewBranch['endpoints'][number]['id'] | undefined,
    ms: number,
  ) => ({
    id: identifiers.operation(),
    action: name,
    endpointId,
    status: 'finished' as const,
    durationMs: ms,
  });
  return [
    operation(action, undefined, Math.round(durationMs)),
    ...endpoints.map((e) => operation('create_compute', e.id, 0)),
  ];
}
