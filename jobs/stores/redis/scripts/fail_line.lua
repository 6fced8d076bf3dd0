-- Give a line that crashes its workers a `worker_lost` error. The shard's other lines wait for a worker again.
-- KEYS: 1 meta, 2 shard, 3 running, 4 open, 5 leases.
-- ARGV: 1 index of the shard, 2 number of lines in `running` when the caller read it, 3 index of the first pending
--   line, 4 completion (JSON) of that line.
-- Returns 'open' when the shard waits again. Returns 'changed' when lines came in since the caller read `running`, or
-- 'no' when the lease has not expired. If the line is no longer to blame, it gets no error, and the lease is dropped.
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
