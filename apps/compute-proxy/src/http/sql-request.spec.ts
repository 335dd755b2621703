import { beginOf, modeHeaders, readMode, readSqlRequest } from './sql-request';

const read = (body: unknown, headers: Record<string, string> = {}): unknown =>
  readSqlRequest(headers, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));

it('one statement, its parameters and the form of its rows', () => {
  expect(read({ query: 'select $1', params: [1] }, { 'neon-raw-text-output': 'true' })).toEqual({
    kind: 'single',
    statement: { query: 'select $1', parameters: ['1'], form: { raw: true, asArrays: false } },
  });
  expect(read({ query: 'select 1', arrayMode: true }, { 'neon-array-mode': 'TRUE' })).toMatchObject({
    statement: { form: { raw: false, asArrays: true } },
  });
});

it('a batch, with the mode of its transaction', () => {
  const headers = { 'neon-batch-isolation-level': 'Serializable', 'neon-batch-read-only': 'true' };
  expect(read({ queries: [{ query: 'a' }, { query: 'b', arrayMode: true }] }, headers)).toMatchObject({
    kind: 'batch',
    statements: [{ query: 'a' }, { query: 'b', form: { asArrays: true } }],
    mode: { isolation: 'Serializable', readOnly: true, deferrable: false },
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
