import type { Clock, Log } from '@coppice/service-kit';
import { DEFAULT_TABLESPACE, GLOBAL_TABLESPACE, type Lsn, type TimelineId } from '@coppice/vocabulary';
import type { RelationProvider } from '../page-source/relation-files';
import { collectRelations, type RelationsAtStart } from '../prepare/compute-image';
import type { PageserverClient } from './pages-stream';
import { patiently } from './patiently';

export interface RelationsAtStartOptions {
  readonly pageserver: PageserverClient;
  readonly timelineId: TimelineId;
  readonly lsn: Lsn;
  readonly clock: Clock;
  readonly log: Log;
}

/** Relations as the pageserver knows them at a compute's start position. */
export function relationsAtStart({
  pageserver,
  timelineId,
  lsn,
  clock,
  log,
}: RelationsAtStartOptions): RelationProvider {
  const ask = (database: number, relation: number, signal: AbortSignal): Promise<RelationsAtStart> => {
    const tablespace = database === 0 ? GLOBAL_TABLESPACE : DEFAULT_TABLESPACE;
    const request = { timelineId, lsn, tablespace, database, relation };
    return patiently(() => collectRelations(pageserver.getRelations(request, { signal })), {
      clock,
      log,
      signal,
    });
  };
  return {
    ofRelation: ({ database, relation }, signal) => ask(database, relation, signal),
    ofDatabase: (database, signal) => ask(database, 0, signal),
  };
}
