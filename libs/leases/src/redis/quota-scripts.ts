/**
 * The counters of an agent are one hash, its bucket is one number; each script is over one key.
 *
 *   quota:<agent>   server     which life of which server the counters belong to, see below
 *                   epoch      of the counters
 *                   projects, branches, computes
 *   rate:<agent>    when the bucket is full again, Unix microseconds; gone when it is
 *
 * A server that restarts from a dump, or a replica that takes over, comes back with counters that lack the last seconds.
 * They must not count: `server` is the run id (new with each start) and the replication id (new with each promotion) under
 * which the counters were set, and counters of another life are as good as none.
 */
import { RESOURCES } from '@coppice/quotas';
import type { Script } from './redis-connection';

/** A hash not touched for so long is dropped; its agent is recounted when it comes back. */
const IDLE_MS = 7 * 24 * 3600 * 1000;

const FIELDS = RESOURCES.map((resource) => `'${resource}'`).join(', ');

const SERVER = `
local resources = { ${FIELDS} }
local function server()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. ':' ..
    string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
end
`;
const COUNTERS = `${SERVER}
local function counters()
  local held = redis.call('HMGET', KEYS[1], 'server', 'epoch', ${FIELDS})
  if held[1] ~= server() then return nil end
  return held
end
`;

/** [wants…, limits… ('' for none)] → ['unknown'] | ['exceeded', resource, limit, used] | ['reserved', epoch] */
export const RESERVE: Script = {
  name: 'quotaReserve',
  lua: `${COUNTERS}
local held = counters()
if not held then return { 'unknown' } end
for i = 1, #resources do
  local want, limit, used = tonumber(ARGV[i]), ARGV[#resources + i], held[i + 2]
  if want > 0 and limit ~= '' and tonumber(used) + want > tonumber(limit) then
    return { 'exceeded', resources[i], limit, used }
  end
end
for i = 1, #resources do
  if ARGV[i] ~= '0' then redis.call('HINCRBY', KEYS[1], resources[i], ARGV[i]) end
end
redis.call('PEXPIRE', KEYS[1], ${IDLE_MS})
return { 'reserved', held[2] }
`,
};

/** [epoch, amounts…] */
export const RELEASE: Script = {
  name: 'quotaRelease',
  lua: `${COUNTERS}
local held = counters()
if not held or held[2] ~= ARGV[1] then return end
for i = 1, #resources do
  local amount = math.min(tonumber(ARGV[i + 1]), tonumber(held[i + 2]))
  if amount > 0 then redis.call('HINCRBY', KEYS[1], resources[i], string.format('%.0f', -amount)) end
end
`,
};

/** [epoch, counts…] → the epoch that the store holds then */
export const REBUILD: Script = {
  name: 'quotaRebuild',
  lua: `${SERVER}
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) >= tonumber(ARGV[1]) then return epoch end
redis.call('HSET', KEYS[1], 'server', server(), 'epoch', ARGV[1])
for i = 1, #resources do redis.call('HSET', KEYS[1], resources[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ${IDLE_MS})
return ARGV[1]
`,
};

/** → [epoch, counts…] or nothing */
export const READ: Script = {
  name: 'quotaRead',
  lua: `${COUNTERS}
local held = counters()
if not held then return false end
table.remove(held, 1)
return held
`,
};

/** [interval, burst] → how many milliseconds to wait, 0 when the request is allowed. As \`takeToken\` of libs/quotas. */
export const TAKE: Script = {
  name: 'quotaTake',
  lua: `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local interval = tonumber(ARGV[1])
local depth = interval * tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or '0')
local next = math.min(math.max(full, now), now + depth) + interval
local wait = next - now - depth
if wait > 0 then return string.format('%.0f', math.ceil(wait / 1000)) end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', string.format('%.0f', math.ceil((next - now) / 1000)))
return '0'
`,
};
