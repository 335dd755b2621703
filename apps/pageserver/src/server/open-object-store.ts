import type { ObjectStore } from '@coppice/object-store';
import { FileObjectStore } from '@coppice/object-store';
import { CoppiceError } from '@coppice/service-kit';

/** The store that a URL names: `file:/directory`. */
export async function openObjectStore(url: string): Promise<ObjectStore> {
  if (url.startsWith('file:/')) return FileObjectStore.open(url.slice('file:'.length));
  throw new CoppiceError('Malformed', 'bad-configuration', `object store ${url} is not known`, { remedy: 'Name file:/directory.' });
}
