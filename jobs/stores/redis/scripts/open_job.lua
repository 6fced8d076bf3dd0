-- KEYS: meta, open, leases. ARGV: number of shards, seconds until the deadline ('' for none).
-- Returns 'ok' (also when it was opened before), 'cancelled', 'missing', or 'incomplete'.
local state, cancel = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested'))
if not state or state == 'deleting' then
  return 'missing'
end
if cancel == '1' then
  return 'cancelled'
end
if state ~= 'validating' then
  return 'ok'
end
if redis.call('ZCARD', KEYS[2]) + (redis.call('HGET', KEYS[1], 'shards_done') or 0) ~= tonumber(ARGV[1]) then
  return 'incomplete'
end
local now = now_ms()
redis.call('HSET', KEYS[1], 'state', 'queued', 'opened_at_ms', now)
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'deadline_ms', math.floor(now + ARGV[2] * 1000))
end
end_if_all_done(KEYS[1], KEYS[2], KEYS[3], now)
return 'ok'
