-- Mark a job whose deadline has passed, so that it ends early like a cancelled job.
-- KEYS: 1 meta, 2 open, 3 leases.
-- Returns 1 if it was marked, else 0.
local state, cancel, deadline = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested', 'deadline_ms'))
local now = now_ms()
if not state or state == 'deleting' or has_ended(state) or cancel == '1' or not deadline or tonumber(deadline) > now then
  return 0
end
redis.call('HSET', KEYS[1], 'cancel_requested', '1', 'expired', '1')
end_if_all_done(KEYS[1], KEYS[2], KEYS[3], now)
return 1
