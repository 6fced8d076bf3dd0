-- KEYS: meta, shard, running, open, leases. ARGV: index of the shard, lines in `running` when it was read, index and
-- completion of its first pending line. That line took its workers down: it gets its error, the others go on.
-- Returns 'open' when the shard waits for a worker again, 'changed' when a worker has been there since `running` was
-- read, or 'no' when its lease has not expired or its line is not guilty.
local expires = redis.call('ZSCORE', KEYS[5], ARGV[1])
if not expires or tonumber(expires) > now_ms() then
  return 'no'
end
if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[2]) then
  return 'changed'
end
if not book_expiry(KEYS[2], KEYS[3]) and redis.call('HSETNX', KEYS[3], ARGV[3], ARGV[4]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'failed', 1)
  redis.call('HINCRBY', KEYS[2], 'failed', 1)
  redis.call('HSET', KEYS[2], 'alone', math.max(redis.call('HGET', KEYS[2], 'lines') - redis.call('HLEN', KEYS[3]), 1))
  redis.call('HDEL', KEYS[2], 'lone')
end
count_time(KEYS[1], KEYS[5], now_ms())
unhold(KEYS[2])
redis.call('ZREM', KEYS[5], ARGV[1])
open_shard(KEYS[2], KEYS[4], ARGV[1])
return 'open'
