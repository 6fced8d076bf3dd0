-- KEYS: meta, shard, open, leases. ARGV: index, worker id, time to live in ms, expiries that a shard may have.
-- Returns {token, attempt}, or false when there is nothing to do.
local state, cancel = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested'))
if (state ~= 'queued' and state ~= 'in_progress') or cancel == '1' then
  return false
end
local index, now = ARGV[1], now_ms()
if not redis.call('ZSCORE', KEYS[3], index) then
  local expires = redis.call('ZSCORE', KEYS[4], index)
  if not expires or tonumber(expires) > now then
    return false -- finished, or held
  end
  local expiries = tonumber(redis.call('HGET', KEYS[2], 'expiries') or 0) + 1
  if expiries >= tonumber(ARGV[4]) then
    return false -- `stranded` turns its pending lines into errors
  end
  redis.call('HSET', KEYS[2], 'expiries', expiries)
end
redis.call('ZREM', KEYS[3], index)
redis.call('ZADD', KEYS[4], now + ARGV[3], index)
local token = redis.call('HINCRBY', KEYS[2], 'token', 1)
local attempt = redis.call('HINCRBY', KEYS[2], 'attempts', 1)
redis.call('HSET', KEYS[2], 'held', token, 'worker', ARGV[2])
if attempt == 2 then
  redis.call('HINCRBY', KEYS[1], 'retried_shards', 1)
end
-- A job that `retry` opened again was idle from its last line until now: `write` takes that off its duration.
if redis.call('HEXISTS', KEYS[1], 'idle_since_ms') == 1 then
  redis.call('HSETNX', KEYS[1], 'idle_until_ms', now)
end
redis.call('HSETNX', KEYS[1], 'first_step_at_ms', now)
redis.call('HSET', KEYS[1], 'state', 'in_progress')
return {token, attempt}
