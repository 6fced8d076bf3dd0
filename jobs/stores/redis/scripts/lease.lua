-- Lease a shard to a worker.
-- `isolated` is '1' if the worker runs no other shard.
-- Returns {token, attempt, max lines at a time (0 for all)}, or false when the shard cannot be leased now.
local meta, shard, running, open, leases = unpack(KEYS)
local index, worker_id, ttl_ms, isolated = unpack(ARGV)
local now = now_ms()
local state, cancel, paused, deadline =
  unpack(redis.call('HMGET', meta, 'state', 'cancel_requested', 'paused', 'deadline_ms'))
if (state ~= 'queued' and state ~= 'in_progress') or cancel == '1' or paused == '1' then
  return false
end
if deadline and tonumber(deadline) <= now then
  return false -- recovery ends it
end
count_time(meta, leases, now)
if not redis.call('ZSCORE', open, index) then
  local expires = redis.call('ZSCORE', leases, index)
  if not expires or tonumber(expires) > now then
    return false -- finished, or held
  end
  if not count_crash(shard, running) then
    return false -- recovery gives its line an error
  end
  unhold(shard)
  redis.call('ZREM', leases, index)
  open_shard(shard, open, index)
end
local lines_at_a_time = redis.call('HGET', shard, LINES_AT_A_TIME)
if lines_at_a_time and isolated ~= '1' then
  return false
end
redis.call('ZREM', open, index)
redis.call('ZADD', leases, now + time_to_live(shard, ttl_ms), index)
local token = redis.call('HINCRBY', shard, 'token', 1)
local attempt = redis.call('HINCRBY', shard, 'attempts', 1)
redis.call('HSET', shard, 'held', token, 'worker', worker_id, 'leased_at_ms', now)
if attempt == 2 then
  redis.call('HINCRBY', meta, 'retried_shards', 1)
end
redis.call('HSETNX', meta, 'first_step_at_ms', now)
redis.call('HSET', meta, 'state', 'in_progress')
return {token, attempt, tonumber(lines_at_a_time or 0)}
