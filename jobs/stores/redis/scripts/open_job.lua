-- Queue a job whose shards are all stored. Opening it again changes nothing.
-- `deadline_seconds` is '' for a job without a deadline.
-- Returns 'ok', 'cancelled', 'missing', or 'incomplete' when shards are missing.
local meta, open, leases = KEYS[1], KEYS[2], KEYS[3]
local num_shards, deadline_seconds = ARGV[1], ARGV[2]
local state = state_of_submission(meta)
if state == 'missing' or state == 'cancelled' then
  return state
end
if state ~= 'validating' then
  return 'ok'
end
if redis.call('ZCARD', open) + (redis.call('HGET', meta, 'shards_done') or 0) ~= tonumber(num_shards) then
  return 'incomplete'
end
local now = now_ms()
redis.call('HSET', meta, 'state', 'queued', 'opened_at_ms', now)
if deadline_seconds ~= '' then
  redis.call('HSET', meta, 'deadline_ms', math.floor(now + deadline_seconds * 1000))
end
end_if_all_done(meta, open, leases, now)
return 'ok'
