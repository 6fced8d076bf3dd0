-- Prolong a lease. A lease that has expired is still valid until another worker takes the shard.
-- Returns 'held', 'paused', 'cancelled' (also past the deadline), or 'lost' when the token is outdated.
local meta, shard, leases = KEYS[1], KEYS[2], KEYS[3]
local index, token, ttl_ms = ARGV[1], ARGV[2], ARGV[3]
if not may_work(shard, token) then
  uncount_crash(shard, token)
  return 'lost'
end
if redis.call('HGET', shard, 'held') == token then
  count_time(meta, leases, now_ms())
  redis.call('ZADD', leases, now_ms() + time_to_live(shard, ttl_ms), index)
else
  redis.call('HSET', shard, 'backup_until_ms', now_ms() + ttl_ms)
end
local cancel, paused = unpack(redis.call('HMGET', meta, 'cancel_requested', 'paused'))
return cancel == '1' and 'cancelled' or paused == '1' and 'paused' or 'held'
