-- KEYS: shard, open, leases. ARGV: index, expiries that a shard may have.
-- Returns 'open' when an expired lease was dropped, 'exhausted' when it was one too many (and is kept until the
-- shard's lines are closed), or 'held' when there is no expired lease.
local expires = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not expires or tonumber(expires) > now_ms() then
  return 'held'
end
local expiries = tonumber(redis.call('HGET', KEYS[1], 'expiries') or 0) + 1
if expiries >= tonumber(ARGV[2]) then
  return 'exhausted'
end
redis.call('HSET', KEYS[1], 'expiries', expiries)
redis.call('HDEL', KEYS[1], 'held', 'worker')
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[1])
return 'open'
