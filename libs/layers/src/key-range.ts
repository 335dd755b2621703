import type { PageKey } from '@coppice/vocabulary';
import { PAGE_KEY_BYTES } from '@coppice/vocabulary';

/** Below every key. */
export const MIN_KEY = '\0'.repeat(PAGE_KEY_BYTES) as PageKey;
/** Above every key: no kind is 0xff. */
export const MAX_KEY = '\xff'.repeat(PAGE_KEY_BYTES) as PageKey;

/** The smallest key above `key`, for ends of half-open ranges. */
export function keyAfter(key: PageKey): PageKey {
  for (let at = PAGE_KEY_BYTES - 1; at >= 0; at -= 1) {
    const code = key.charCodeAt(at);
    if (code < 255) return (key.slice(0, at) + String.fromCharCode(code + 1) + '\0'.repeat(PAGE_KEY_BYTES - 1 - at)) as PageKey;
  }
  return MAX_KEY;
}
