/**
 * Calls `feed` with `bytes` cut in two at every position, then cut into single bytes: what a stream decoder must not
 * notice. `step` thins the cuts of long fixtures out (the single-byte run stays).
 */
export function splitEverywhere(bytes: Uint8Array, feed: (pieces: Uint8Array[]) => void, step = 1): void {
  for (let at = 0; at <= bytes.length; at += step) feed([bytes.subarray(0, at), bytes.subarray(at)]);
  feed(Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)));
}
