-- KEYS: meta, open, leases. Ends a job whose deadline has passed, as a cancellation would. Returns 1 if it is to end.
local state, cancel, deadline = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested', 'deadline_ms'))
local now = now_ms()
if not state or state == 'deleting' or has_ended(state) or cancel == '1' or not deadline or tonumber(deadline) > now then
  return 0
end
redis.call('HSET', KEYS[1], 'cancel_requested', '1', 'expired', '1')
end_if_all_done(KEYS[1], KEYS[2], KEYS[3], now)
return 1
