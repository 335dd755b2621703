import type { ImportPart, ImportResult } from '@coppice/contracts';
import { CoppiceError } from '@coppice/service-kit';
import type { TimelineId } from '@coppice/vocabulary';
import { formatLsn, lsn as toLsn } from '@coppice/vocabulary';
import type { Log } from '@coppice/service-kit';
import type { FileChunk } from '../import/import-files';
import { importFiles } from '../import/import-files';
import type { ImportDeps } from '../storage/import-images';
import { importImages } from '../storage/import-images';

/** Makes a timeline of the files of a cleanly stopped data directory. Durable when it resolves. */
export async function importTimeline(parts: AsyncIterable<ImportPart>, { log, ...deps }: ImportDeps & { readonly log: Log }): Promise<ImportResult> {
  const iterator = parts[Symbol.asyncIterator]();
  const timeline = await headerOf(iterator);
  const cluster = await importFiles(chunksOf(iterator));
  await importImages({ timeline, ...cluster }, deps);
  log.info({ timeline, lsn: formatLsn(cluster.lsn), keys: cluster.entries.length }, 'timeline imported');
  return { lsn: toLsn(cluster.lsn), systemIdentifier: cluster.systemIdentifier };
}

async function headerOf(parts: AsyncIterator<ImportPart>): Promise<TimelineId> {
  const first = await parts.next();
  if (!first.done && first.value.kind === 'header') return first.value.value.timelineId;
  throw new CoppiceError('Malformed', 'import-without-header', 'an import must begin with its header');
}

async function* chunksOf(parts: AsyncIterator<ImportPart>): AsyncGenerator<FileChunk> {
  for (let next = await parts.next(); !next.done; next = await parts.next()) {
    if (next.value.kind !== 'chunk') throw new CoppiceError('Malformed', 'second-import-header', 'an import has one header');
    yield next.value.value;
  }
}
