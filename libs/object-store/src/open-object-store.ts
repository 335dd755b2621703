import { CoppiceError } from '@coppice/service-kit';
import { FileObjectStore } from './file-object-store';
import type { ObjectStore } from './object-store';
import type { S3Options } from './s3-object-store';
import { S3ObjectStore } from './s3-object-store';

/**
 * The store that a URL names: `file:/directory`, or `s3://bucket/prefix?region=…&endpoint=http://…&path-style=true`. Keys
 * for S3 are not in the URL: they are found as the AWS tools find them (`AWS_ACCESS_KEY_ID`, …).
 */
export async function openObjectStore(url: string): Promise<ObjectStore> {
  if (url.startsWith('file:/')) return FileObjectStore.open(url.slice('file:'.length));
  const s3 = parseS3Url(url);
  if (s3) return new S3ObjectStore(s3);
  throw new CoppiceError('Malformed', 'bad-configuration', `object store ${JSON.stringify(url)} is not known`, {
    remedy: 'Name file:/directory or s3://bucket/prefix?endpoint=….',
  });
}

/** Options of an `s3:` URL; undefined when it is none. */
export function parseS3Url(text: string): S3Options | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (url.protocol !== 's3:' || url.hostname === '') return undefined;
  const path = url.pathname.replace(/^\/+|\/+$/g, '');
  const region = url.searchParams.get('region');
  const endpoint = url.searchParams.get('endpoint');
  return {
    bucket: url.hostname,
    prefix: path === '' ? '' : `${path}/`,
    ...(region ? { region } : {}),
    ...(endpoint ? { endpoint } : {}),
    pathStyle: url.searchParams.get('path-style') === 'true',
  };
}
