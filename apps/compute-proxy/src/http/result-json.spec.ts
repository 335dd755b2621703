import { heldBy } from './held-memory.fixture';
import { ResultJson } from './result-json';

const field = { name: 'a', tableId: 0, columnId: 0, typeId: 25, typeSize: -1, typeModifier: -1 };

function resultOf(rows: number, value: string): ResultJson {
  const result = new ResultJson({ raw: true, asArrays: false });
  result.describe([field]);
  for (let row = 0; row < rows; row += 1) result.row([value]);
  return result;
}
const textOf = (result: ResultJson): string => Buffer.concat(result.json()).toString();

describe('a result', () => {
  it.each([0, 1, 2, 5_000])('of %d rows is JSON', (rows) => {
    const result = resultOf(rows, 'é"😀');
    result.complete({ command: `SELECT`, rowCount: rows });
    const { rows: read, rowCount } = JSON.parse(textOf(result));
    expect([read, rowCount]).toEqual([Array.from({ length: rows }, () => ({ a: 'é"😀' })), rows]);
  });
  it('says how many bytes its rows are', () => {
    const [none, some] = [0, 3_000].map((rows) => {
      const result = resultOf(rows, 'é😀');
      result.complete({ command: 'SELECT', rowCount: 0 });
      return result;
    });
    expect(some!.length).toBe(Buffer.byteLength(textOf(some!)) - Buffer.byteLength(textOf(none!)));
  });
  it('of many small rows holds little more memory than that', () => {
    const { made, bytes } = heldBy(() => resultOf(500_000, '12'));
    expect(made.length).toBeGreaterThan(4_000_000);
    expect(bytes).toBeLessThan(1.5 * made.length);
  });
});
