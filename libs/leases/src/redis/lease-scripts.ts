/**
 * A lease is one hash, which outlives it by `TOKEN_MEMORY_MS`; each script is over its key. Times are the server's.
 *
 *   lease:<name>   holder   empty when released
 *                  token    the last one given
 *                  until    when the lease ends, Unix microseconds
 */
import { TOKEN_MEMORY_MS } from '../lease-store';
import type { Script } from './redis-connection';

/** [holder, …] */
const PREAMBLE = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local lease = redis.call('HMGET', KEYS[1], 'holder', 'token', 'until')
local holder, token, ends = lease[1] or '', tonumber(lease[2] or '0'), tonumber(lease[3] or '0')
local function hold(ttl)
  redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ttl * 1000))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ttl + ${TOKEN_MEMORY_MS}))
end
`;
const IS_HELD = `holder == ARGV[1] and token == tonumber(ARGV[2]) and ends > now`;

/** [holder, ttl, above] → token, or nothing while another holder has it */
export const ACQUIRE: Script = {
  name: 'leaseAcquire',
  lua: `${PREAMBLE}
if holder ~= '' and holder ~= ARGV[1] and ends > now then return false end
local next = string.format('%.0f', math.max(token + 1, now, tonumber(ARGV[3]) + 1))
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', next)
hold(tonumber(ARGV[2]))
return next
`,
};

/** [holder, token, ttl] → 1 when it is held for `ttl` from now, else 0 */
export const RENEW: Script = {
  name: 'leaseRenew',
  lua: `${PREAMBLE}
if not (${IS_HELD}) then return 0 end
hold(tonumber(ARGV[3]))
return 1
`,
};

/** [holder, token] */
export const RELEASE_LEASE: Script = {
  name: 'leaseRelease',
  lua: `${PREAMBLE}
if not (${IS_HELD}) then return end
redis.call('HSET', KEYS[1], 'holder', '')
hold(0)
`,
};

/** [] → the holder, or nothing */
export const LEASE_HOLDER: Script = {
  name: 'leaseHolder',
  lua: `${PREAMBLE}
if holder == '' or ends <= now then return false end
return holder
`,
};
