-- KEYS: meta, shard, running, open, leases. ARGV: index, worker id, time to live in ms, '1' if the worker runs nothing else.
-- Returns {token, attempt, lines at a time or 0 for all}, or false when there is nothing to do.
local index, now = ARGV[1], now_ms()
local state, cancel, paused, deadline =
  unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested', 'paused', 'deadline_ms'))
if (state ~= 'queued' and state ~= 'in_progress') or cancel == '1' or paused == '1' then
  return false
end
if deadline and tonumber(deadline) <= now then
  return false -- `stranded` ends it
end
count_time(KEYS[1], KEYS[5], now)
if not redis.call('ZSCORE', KEYS[4], index) then
  local expires = redis.call('ZSCORE', KEYS[5], index)
  if not expires or tonumber(expires) > now then
    return false -- finished, or held
  end
  if not book_expiry(KEYS[2], KEYS[3]) then
    return false -- `stranded` turns its line into an error
  end
  unhold(KEYS[2])
  redis.call('ZREM', KEYS[5], index)
  open_shard(KEYS[2], KEYS[4], index)
end
local alone = redis.call('HGET', KEYS[2], 'alone')
if alone and ARGV[4] ~= '1' then
  return false
end
redis.call('ZREM', KEYS[4], index)
redis.call('ZADD', KEYS[5], now + time_to_live(KEYS[2], ARGV[3]), index)
local token = redis.call('HINCRBY', KEYS[2], 'token', 1)
local attempt = redis.call('HINCRBY', KEYS[2], 'attempts', 1)
redis.call('HSET', KEYS[2], 'held', token, 'worker', ARGV[2], 'leased_at_ms', now)
if attempt == 2 then
  redis.call('HINCRBY', KEYS[1], 'retried_shards', 1)
end
redis.call('HSETNX', KEYS[1], 'first_step_at_ms', now)
redis.call('HSET', KEYS[1], 'state', 'in_progress')
return {token, attempt, tonumber(alone or 0)}
