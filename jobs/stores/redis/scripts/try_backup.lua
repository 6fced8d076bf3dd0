-- Let a worker run the backup of a slow shard that another worker holds.
-- `min_ms` is the minimum time that the holder must have held the shard.
-- Returns {token, attempt}. Returns false when the shard is not slow, may crash its workers, or has a backup.
local meta, shard, leases = KEYS[1], KEYS[2], KEYS[3]
local index, worker_id, ttl_ms, min_ms = unpack(ARGV)
local now = now_ms()
local state, cancel, paused, deadline, held_ms, held_shards =
  unpack(redis.call('HMGET', meta, 'state', 'cancel_requested', 'paused', 'deadline_ms', 'held_ms', 'held_shards'))
if state ~= 'in_progress' or cancel == '1' or paused == '1' or (deadline and tonumber(deadline) <= now) then
  return false
end
local expires = redis.call('ZSCORE', leases, index)
if not expires or tonumber(expires) <= now then
  return false -- nobody holds it
end
local worker, leased_at, until_ms, attempts =
  unpack(redis.call('HMGET', shard, 'worker', 'leased_at_ms', 'backup_until_ms', 'attempts'))
local quarantined, crash_count = unpack(redis.call('HMGET', shard, LINES_AT_A_TIME, CRASH_COUNT))
if worker == worker_id or quarantined or tonumber(crash_count or 0) > 0 or (until_ms and tonumber(until_ms) > now) then
  return false
end
if not is_slow(now - (leased_at or now), held_ms, held_shards, min_ms) then
  return false
end
local token = redis.call('HINCRBY', shard, 'token', 1)
redis.call('HSET', shard, 'backup', token, 'backup_until_ms', now + ttl_ms)
return {token, tonumber(attempts)}
