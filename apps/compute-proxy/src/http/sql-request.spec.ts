import { SYNC, writeStatement } from '@coppice/postgres';
import { heldBy } from './held-memory.fixture';
import { beginOf, modeHeaders, readMode, readSqlRequest } from './sql-request';

const read = (body: unknown, headers: Record<string, string> = {}): unknown =>
  readSqlRequest(headers, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));

it('one statement, its parameters and the form of its rows', () => {
  expect(read({ query: 'select $1', params: [1] }, { 'neon-raw-text-output': 'true' })).toEqual({
    kind: 'single',
    bytes: Buffer.concat([writeStatement('select $1', ['1']), SYNC]),
    forms: [{ raw: true, asArrays: false }],
  });
  expect(read({ query: 'select 1', arrayMode: true }, { 'neon-array-mode': 'TRUE' })).toMatchObject({
    forms: [{ raw: false, asArrays: true }],
  });
});

it('a batch, with the mode of its transaction', () => {
  const headers = { 'neon-batch-isolation-level': 'Serializable', 'neon-batch-read-only': 'true' };
  expect(read({ queries: [{ query: 'a' }, { query: 'b', arrayMode: true }] }, headers)).toEqual({
    kind: 'batch',
    bytes: Buffer.concat([
      writeStatement('BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY', []),
      writeStatement('a', []),
      writeStatement('b', []),
      SYNC,
    ]),
    forms: [false, false, true].map((asArrays) => ({ raw: false, asArrays })),
  });
});

it.each([
  [{}, 'BEGIN', {}],
  [
    { 'neon-batch-isolation-level': 'RepeatableRead', 'neon-batch-deferrable': 'true' },
    'BEGIN ISOLATION LEVEL REPEATABLE READ DEFERRABLE',
    { 'neon-batch-isolation-level': 'RepeatableRead', 'neon-batch-deferrable': 'true' },
  ],
  [{ 'neon-batch-read-only': 'yes' }, 'BEGIN', {}],
  [{ 'neon-batch-read-only': 'true' }, 'BEGIN READ ONLY', { 'neon-batch-read-only': 'true' }],
])('the headers %j begin with %s', (headers, begin, echoed) => {
  expect(beginOf(readMode(headers))).toBe(begin);
  expect(modeHeaders(readMode(headers))).toEqual(echoed);
});

it.each(['serializable', 'toString', '__proto__', ''])('there is no isolation level %s', (level) => {
  expect(() => readMode({ 'neon-batch-isolation-level': level })).toThrow('invalid isolation level');
});

it.each([
  ['', 'could not parse'],
  ['[]', 'not a JSON object'],
  ['null', 'not a JSON object'],
  ['{"a":', 'could not parse'],
  ['{}', 'neither'],
  ['{"query":1}', 'no string "query"'],
  ['{"query":"a\\u0000b"}', 'NUL'],
  ['{"query":"","params":{}}', 'not an array'],
  ['{"query":"","arrayMode":1}', 'not a boolean'],
  ['{"queries":{}}', 'neither'],
  ['{"queries":[1]}', 'queries[0] has no string "query"'],
  ['{"queries":[null]}', 'queries[0] has no string "query"'],
  [`{"queries":[${'{},'.repeat(10_000)}{}]}`, 'more than 10000 statements'],
  [`{"query":"","params":[${'0,'.repeat(65_535)}0]}`, 'more than 65535 parameters'],
  ['['.repeat(1_000_000), 'could not parse'],
])('a body %.20s is refused: %s', (body, why) => expect(() => read(body)).toThrow(why));

it('a request of many small parameters holds no more memory than is counted of it', () => {
  const params = Array.from({ length: 60_000 }, (_, at) => String(10 + (at % 90)));
  const body = Buffer.from(
    JSON.stringify({ queries: Array.from({ length: 16 }, () => ({ query: '', params })) }),
  );
  const { made, bytes } = heldBy(() => readSqlRequest({}, body));
  expect(made.bytes.length).toBeGreaterThan(16 * params.length * 6);
  expect(bytes).toBeLessThan(1.2 * made.bytes.length);
});
