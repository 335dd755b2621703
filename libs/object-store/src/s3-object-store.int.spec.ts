import { randomUUID } from 'node:crypto';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { TestS3 } from '@coppice/testing';
import { s3Unavailable, startS3 } from '@coppice/testing';
import type { S3Options } from './s3-object-store';
import { S3ObjectStore } from './s3-object-store';
import { objectStoreSuite } from './suite/object-store-suite';

const reason = s3Unavailable();
if (reason !== undefined) console.warn(`S3 is not tested: ${reason}`);

(reason === undefined ? describe : describe.skip)('on a Ceph RADOS gateway', () => {
  let server: TestS3 | undefined;
  const stores: S3ObjectStore[] = [];

  async function bucket(options: Partial<S3Options> = {}): Promise<S3ObjectStore> {
    server ??= await startS3();
    const { endpoint, accessKeyId, secretAccessKey } = server;
    const credentials = { accessKeyId, secretAccessKey };
    const name = `b-${randomUUID()}`;
    const client = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true });
    await client.send(new CreateBucketCommand({ Bucket: name }));
    client.destroy();
    const store = new S3ObjectStore({ bucket: name, endpoint, credentials, pathStyle: true, ...options });
    stores.push(store);
    return store;
  }

  beforeAll(async () => {
    server = await startS3();
  }, 120_000);

  afterAll(async () => {
    for (const store of stores) store.close();
    await server?.stop();
  }, 30_000);

  objectStoreSuite('s3', () => bucket());
  objectStoreSuite('s3 below a prefix', () => bucket({ prefix: 'some/where/' }));

  it('says that a bucket is not there, and does not call its objects absent', async () => {
    const store = await bucket({ bucket: 'no-such-bucket' });
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'Unavailable', code: 'object-store-unavailable' });
  });

  it('says that its keys are refused', async () => {
    const store = await bucket({ credentials: { accessKeyId: 'coppice', secretAccessKey: 'wrong' } });
    await expect(store.put('a', Buffer.from('x'))).rejects.toMatchObject({ kind: 'Unavailable' });
  });
});
