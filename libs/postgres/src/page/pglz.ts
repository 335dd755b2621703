/**
 * PostgreSQL's own LZ compression (src/common/pg_lzcompress.c), decompression only.
 *
 *   control byte, then 8 items, one for each of its bits from the lowest up:
 *     0  literal     ┌──────┐
 *                    │  u8  │
 *                    └──────┘
 *     1  match       ┌──────────────────────────┬─────────┬──────────────────┐
 *                    │ offset high 4 │ length−3 │ offset  │ more length      │   the last byte only when length−3 is 15
 *                    │          u8              │  u8     │  u8              │
 *                    └──────────────────────────┴─────────┴──────────────────┘
 *     a match repeats `length` bytes from `offset` bytes before the end of the output, and may overlap it
 */

/**
 * Decompresses all of `source` into exactly `target`. Returns `false` when it is damaged or makes another number of
 * bytes; `target` then holds garbage.
 */
export function pglzDecompress(source: Buffer, target: Buffer): boolean {
  const sourceEnd = source.length;
  const targetEnd = target.length;
  let from = 0;
  let to = 0;
  while (from < sourceEnd && to < targetEnd) {
    let control = source[from++]!;
    for (let item = 0; item < 8 && from < sourceEnd && to < targetEnd; item++, control >>= 1) {
      if ((control & 1) === 0) {
        target[to++] = source[from++]!;
        continue;
      }
      if (from + 2 > sourceEnd) return false;
      let length = (source[from]! & 0x0f) + 3;
      const offset = ((source[from]! & 0xf0) << 4) | source[from + 1]!;
      from += 2;
      if (length === 18) {
        if (from >= sourceEnd) return false;
        length += source[from++]!;
      }
      if (offset === 0 || offset > to) return false;
      const end = Math.min(to + length, targetEnd);
      for (; to < end; to++) target[to] = target[to - offset]!;
    }
  }
  return from === sourceEnd && to === targetEnd;
}
