import { readConnectionString } from './connection-string';

it('names the endpoint by the first label of the host', () => {
  expect(readConnectionString('postgresql://app:s%40cret@ep-a-b-c.eu.db.test/shop?sslmode=require')).toEqual({
    endpoint: 'ep-a-b-c',
    role: 'app',
    password: 's@cret',
    database: 'shop',
    opening: { when: undefined, readOnly: false },
    parameters: new Map(),
  });
});

it('says at which point of its history the branch is read', () => {
  const uri = 'postgres://app:pw@ep-a-b-c.db.test/shop?options=neon_lsn%3A0%2F16B3748';
  expect(readConnectionString(uri)).toMatchObject({ opening: { when: { lsn: 0x16b3748n }, readOnly: true } });
});

it('or in the options, where hosts are addresses', () => {
  const uri =
    'postgres://app:pw@127.0.0.1:7432/shop?options=endpoint%3Dep-a-b-c%20-c%20work_mem%3D8MB&application_name=x&connect_timeout=3';
  expect(readConnectionString(uri)).toMatchObject({
    endpoint: 'ep-a-b-c',
    parameters: new Map([
      ['application_name', 'x'],
      ['options', '-c work_mem=8MB'],
    ]),
  });
});

it('or before the password', () => {
  expect(readConnectionString('postgres://app:endpoint%3Dep-a-b-c%3Bpw@127.0.0.1/shop')).toMatchObject({
    endpoint: 'ep-a-b-c',
    password: 'pw',
  });
});

it.each([
  [undefined, 'invalid header'],
  ['mysql://a:b@ep-a.x/d', 'incorrect scheme'],
  ['postgresql://', 'invalid connection string'],
  ['postgresql://:b@ep-a.x/d', 'missing username'],
  ['postgresql://a@ep-a.x/d', 'required password'],
  ['postgresql://a:b@ep-a.x/', 'missing database name'],
  ['postgresql://a:b@127.0.0.1/d', 'does not name an endpoint'],
  ['postgresql://a:b@ep-a.x/d?options=endpoint%3Dep-b', 'Inconsistent'],
  ['postgresql://a:b@ep-a.x/%ff', 'invalid database name'],
  ['postgresql://a%00:b@ep-a.x/d', 'NUL'],
  [`postgresql://a:b@ep-${'a'.repeat(100)}.x/d`, 'endpoint name'],
])('%s is refused: %s', (header, why) => expect(() => readConnectionString(header)).toThrow(why));

it('says nothing about a password', () => {
  expect(() => readConnectionString('postgresql://a:s3cret@:x/d')).toThrow(/^(?!.*s3cret)/);
});
