/**
 * How a pageserver knows, by object storage alone, that no newer one has taken over. A pageserver puts an object named by
 * its generation before it reads any manifest. So one that wrote a manifest and then finds no newer attachment knows that
 * every newer pageserver will start from that manifest: what it does not list may go.
 */
import { attachmentObjectKey, ATTACHMENTS_PREFIX, generationOfAttachment } from '@coppice/layers';
import type { ObjectStore } from '@coppice/object-store';
import { listAll } from '@coppice/object-store';
import { CoppiceError } from '@coppice/service-kit';
import type { Generation } from '@coppice/vocabulary';

/** Says that a pageserver of this generation begins; takes away what older ones said. */
export async function announceAttachment(store: ObjectStore, generation: Generation, signal?: AbortSignal): Promise<void> {
  await store.put(attachmentObjectKey(generation), Buffer.alloc(0), { signal });
  const older: string[] = [];
  for await (const { key } of listAll(store, ATTACHMENTS_PREFIX, signal)) {
    const other = generationOfAttachment(key);
    if (other !== undefined && other < generation) older.push(key);
  }
  await store.deleteMany(older, signal);
}

/** Throws `Fenced` when a pageserver of a newer generation has attached. */
export async function requireNewest(store: ObjectStore, generation: Generation, signal?: AbortSignal): Promise<void> {
  for await (const { key } of listAll(store, ATTACHMENTS_PREFIX, signal)) {
    const other = generationOfAttachment(key);
    if (other === undefined || other <= generation) continue;
    throw new CoppiceError('Fenced', 'pageserver-fenced', `a pageserver of generation ${other} has attached, this one has ${generation}`, {
      remedy: 'Another pageserver has taken over; ask that one, and stop this one.',
    });
  }
}
