import type { RelationsPart } from '@coppice/contracts';
import type { Clock, Log } from '@coppice/service-kit';
import { DEFAULT_TABLESPACE, GLOBAL_TABLESPACE, type Lsn, type TimelineId } from '@coppice/vocabulary';
import type { RelationProvider } from '../page-source/relation-files';
import { collectRelations, highestRelation } from '../prepare/compute-image';
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
  const ask = <T>(
    { database, relation }: { readonly database: number; readonly relation: number },
    take: (parts: AsyncIterable<RelationsPart>) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> => {
    const tablespace = database === 0 ? GLOBAL_TABLESPACE : DEFAULT_TABLESPACE;
    const request = { timelineId, lsn, tablespace, database, relation };
    return patiently(() => take(pageserver.getRelations(request, { signal })), { clock, log, signal });
  };
  const all = (database: number) => ({ database, relation: 0 });
  return {
    ofRelation: (relation, signal) => ask(relation, collectRelations, signal),
    ofDatabase: (database, signal) => ask(all(database), collectRelations, signal),
    highestOf: (database, signal) => ask(all(database), highestRelation, signal),
  };
}
