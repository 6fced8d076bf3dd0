-- Make a worker the second runner of a slow shard that another worker holds.
-- KEYS: 1 meta, 2 shard, 3 leases.
-- ARGV: 1 index of the shard, 2 worker id, 3 time to live in ms, 4 min ms that the shard must have been held.
-- Returns {token, attempt}. Returns false when the shard is not slow, may crash its workers, or has a second runner.
local index, now = ARGV[1], now_ms()
local state, cancel, paused, deadline, held_ms, held_shards =
  unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested', 'paused', 'deadline_ms', 'held_ms', 'held_shards'))
if state ~= 'in_progress' or cancel == '1' or paused == '1' or (deadline and tonumber(deadline) <= now) then
  return false
end
local expires = redis.call('ZSCORE', KEYS[3], index)
if not expires or tonumber(expires) <= now then
  return false -- nobody holds it
end
local worker, leased_at, alone, expiries, until_ms, attempts =
  unpack(redis.call('HMGET', KEYS[2], 'worker', 'leased_at_ms', 'alone', 'expiries', 'backup_until_ms', 'attempts'))
if worker == ARGV[2] or alone or tonumber(expiries or 0) > 0 or (until_ms and tonumber(until_ms) > now) then
  return false
end
if not is_slow(now - (leased_at or now), held_ms, held_shards, ARGV[4]) then
  return false
end
local token = redis.call('HINCRBY', KEYS[2], 'token', 1)
redis.call('HSET', KEYS[2], 'backup', token, 'backup_until_ms', now + ARGV[3])
return {token, tonumber(attempts)}
