-- Give a line that crashes its workers a `worker_lost` error. The shard's other lines wait for a worker again.
-- `lines_read` is the number of lines in `running` when the caller read it. `line` is the index of the first pending
-- line, `completion` (JSON) its error, and `error_code` the code of this error.
-- Returns 'open' when the shard waits again. Returns 'changed' when lines came in since the caller read `running`, or
-- 'no' when the lease has not expired. If the line is no longer at fault, it gets no error, and the lease is dropped.
local meta, shard, running, open, leases = unpack(KEYS)
local index, lines_read, line, completion, error_code = unpack(ARGV)
if not has_expired_lease(leases, index) then
  return 'no'
end
if redis.call('HLEN', running) ~= tonumber(lines_read) then
  return 'changed'
end
if not count_crash(shard, running) and redis.call('HSETNX', running, line, completion) == 1 then
  redis.call('HINCRBY', meta, 'failed', 1)
  count_errors(meta, error_code, 1)
  redis.call('HINCRBY', shard, 'failed', 1)
  local pending = redis.call('HGET', shard, 'lines') - redis.call('HLEN', running)
  redis.call('HSET', shard, LINES_AT_A_TIME, math.max(pending, 1))
  redis.call('HDEL', shard, ISOLATED_CRASH_COUNT)
end
count_time(meta, leases, now_ms())
unhold(shard)
redis.call('ZREM', leases, index)
open_shard(shard, open, index)
return 'open'
