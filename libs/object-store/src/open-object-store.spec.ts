import { openObjectStore, parseS3Url } from './open-object-store';

describe('object store URLs', () => {
  it('name a bucket, a prefix and where it is', () => {
    expect(parseS3Url('s3://layers/prod/a?region=eu-west-1&endpoint=http://127.0.0.1:7480&path-style=true')).toEqual({
      bucket: 'layers',
      prefix: 'prod/a/',
      region: 'eu-west-1',
      endpoint: 'http://127.0.0.1:7480',
      pathStyle: true,
    });
    expect(parseS3Url('s3://layers')).toEqual({ bucket: 'layers', prefix: '', pathStyle: false });
  });

  it('that are not known are refused with what is', async () => {
    for (const url of ['', 'ftp://x', 'file:relative', 's3:///no-bucket']) {
      await expect(openObjectStore(url)).rejects.toMatchObject({ code: 'bad-configuration' });
    }
  });
});
